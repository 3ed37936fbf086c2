"""Makes the image of this example out of Debian packages: Python, Flask, gunicorn and WordNet, 100 MB, as an OCI image layout."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from debian_image import Recipe, main  # noqa: E402 (what the examples share)

RECIPE = Recipe(
    name="dictionary:1",
    packages=("gunicorn", "python3-flask", "wordnet-base"),
    application=(HERE / "dictionary.py",),
    run={
        "Entrypoint": ["/usr/bin/python3", "-m", "gunicorn", "--bind=0.0.0.0:8080", "--threads=4", "--worker-tmp-dir=/dev/shm"],
        "Cmd": ["dictionary:app"],
        "Env": ["PATH=/usr/bin:/bin", "PYTHONUNBUFFERED=1"],
        "ExposedPorts": {"8080/tcp": {}},
        "User": "65534:65534",
        "WorkingDir": "/srv",
    },
)

if __name__ == "__main__":
    sys.exit(main(RECIPE, __doc__))
