"""``python -m supervisor_haproxy``."""

from supervisor_haproxy import main

main()
