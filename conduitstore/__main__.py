"""`python -m conduitstore` is `conduitstore`."""

from conduitstore.cli import main

if __name__ == "__main__":
    main()
