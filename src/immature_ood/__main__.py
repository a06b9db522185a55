"""`python -m immature_ood` is the command immature-ood."""

from immature_ood.cli import main

if __name__ == "__main__":
    main()
