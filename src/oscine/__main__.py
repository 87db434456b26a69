"""`python -m oscine` is the command `oscine`."""

from oscine.cli import main

if __name__ == "__main__":
    main()
