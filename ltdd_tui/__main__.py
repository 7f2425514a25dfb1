"""`python -m ltdd_tui`: the same as the command `ltdd-tui`."""

from ltdd_tui_start import main

if __name__ == "__main__":
    main()
