"""`python -m engine` is `mailvolley`."""

from engine.cli import main

if __name__ == "__main__":
    main()
