"""`python -m tests.bench.served APPLICATION --port N`: an application served as `manage.py web` serves Convultra."""

import argparse

import uvicorn


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.served", description=__doc__)
    parser.add_argument("application", help="module:name")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--interface", choices=("asgi3", "wsgi"), default="asgi3")
    given = parser.parse_args()
    uvicorn.run(
        given.application,
        port=given.port,
        workers=given.workers,
        interface=given.interface,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
    )


if __name__ == "__main__":
    main()
