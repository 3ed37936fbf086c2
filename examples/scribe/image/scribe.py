"""Reads what is written in a picture, and draws text as one: a small web service over Tesseract and the Noto fonts.

    curl 'http://HOST/draw?text=Guten+Tag' > picture.png
    curl --data-binary @picture.png 'http://HOST/read?language=deu'

Languages and fonts, a gigabyte of them, stay on disk until somebody asks for one. One picture is read at a time, and the largest language
(Latin, for all that is written in it) not at all: it takes all the memory that there is, or more.
"""

import io
import json
import socket
import subprocess
import threading
import unicodedata
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from PIL import Image, ImageDraw, ImageFont

LANGUAGES = Path("/usr/share/tesseract-ocr/5/tessdata")
FONTS = Path("/usr/share/fonts")
CJK = FONTS / "opentype" / "noto" / "NotoSansCJK-Regular.ttc"
CJK_SCRIPTS = ("CJK", "HANGUL", "HIRAGANA", "KATAKANA")
MOST_BYTES = 4_000_000
# Tesseract has a language in memory twice while it reads it.
MOST_LANGUAGE_BYTES = 50_000_000
MOST_LETTERS = 200
SECONDS = 240
SIZE, MARGIN = 40, 20
USAGE = "POST a picture to /read?language=deu; GET /draw?text=...&style=Regular; GET /languages\n"

reading = threading.Lock()


class Refused(Exception):
    """What somebody asked that cannot be done: HTTP status and reason."""


def languages() -> list[str]:
    return sorted(path.stem for path in LANGUAGES.glob("*.traineddata"))


def read(picture: bytes, language: str) -> str:
    if language not in languages():
        raise Refused(404, f"no language {language!r}: GET /languages lists them")
    if (LANGUAGES / f"{language}.traineddata").stat().st_size > MOST_LANGUAGE_BYTES:
        raise Refused(507, f"{language} takes more memory than there is")
    try:
        with reading:
            command = ["tesseract", "-", "-", "-l", language, "--psm", "6"]
            return subprocess.run(command, input=picture, capture_output=True, check=True, timeout=SECONDS).stdout.decode().strip()
    except subprocess.CalledProcessError as error:
        raise Refused(422, error.stderr.decode().strip()) from error
    except subprocess.TimeoutExpired as error:
        raise Refused(503, f"not read within {SECONDS} s") from error


def font(text: str, style: str) -> Path:
    """Return the font for the script that most letters of a text belong to."""
    scripts = Counter(unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha())
    script = scripts.most_common(1)[0][0] if scripts else ""
    if script in CJK_SCRIPTS:
        return CJK
    for name in (f"NotoSans{script.capitalize()}-{style}.ttf", f"NotoSans-{style}.ttf"):
        path = FONTS / "truetype" / "noto" / name
        if path.parent == FONTS / "truetype" / "noto" and path.is_file():
            return path
    raise Refused(404, f"no style {style!r} for this script")


def draw(text: str, style: str) -> bytes:
    if not 0 < len(text) <= MOST_LETTERS:
        raise Refused(422, f"1 to {MOST_LETTERS} letters can be drawn")
    chosen = ImageFont.truetype(str(font(text, style)), SIZE)
    left, top, right, bottom = chosen.getbbox(text)
    picture = Image.new("L", (right - left + 2 * MARGIN, bottom - top + 2 * MARGIN), "white")
    ImageDraw.Draw(picture).text((MARGIN - left, MARGIN - top), text, font=chosen, fill="black")
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    return packed.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MOST_BYTES:
            self.close_connection = True
            self.send(413, f"a picture may have {MOST_BYTES} bytes\n".encode(), "text/plain")
            return
        self.answer(self.rfile.read(length))

    def answer(self, body: bytes) -> None:
        url = urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        try:
            match self.command, url.path:
                case "GET", "/healthz":
                    self.send(200, b"ok\n", "text/plain")
                case "GET", "/languages":
                    self.send(200, json.dumps(languages()).encode(), "application/json")
                case "GET", "/draw":
                    self.send(200, draw(asked.get("text", ""), asked.get("style", "Regular")), "image/png")
                case "POST", "/read":
                    answer = {"text": read(body, asked.get("language", "eng")), "from": socket.gethostname()}
                    self.send(200, json.dumps(answer).encode(), "application/json")
                case _:
                    raise Refused(404, USAGE)
        except Refused as refused:
            status, reason = refused.args
            self.send(status, f"{reason.strip()}\n".encode(), "text/plain")

    def send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()
