"""Makes the image of this example out of Debian packages: Tesseract with all its languages, the Noto fonts and Python, 1.2 GB."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from debian_image import Recipe, main  # noqa: E402 (what the examples share)

RECIPE = Recipe(
    name="scribe:1",
    packages=("python3-pil", "tesseract-ocr-all", "fonts-noto-core", "fonts-noto-cjk", "fonts-noto-extra"),
    application=(HERE / "scribe.py",),
    run={
        "Entrypoint": ["/usr/bin/python3", "-m", "scribe"],
        # The VM has one processor: threads of one page would only wait for each other.
        "Env": ["PATH=/usr/bin:/bin", "PYTHONUNBUFFERED=1", "OMP_THREAD_LIMIT=1"],
        "ExposedPorts": {"8080/tcp": {}},
        "User": "65534:65534",
        "WorkingDir": "/srv",
    },
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))
