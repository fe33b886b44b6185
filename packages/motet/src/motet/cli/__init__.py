"""The `motet` command: one small file per command, and the few things they share.

The command files hold options and order of work only and import nothing heavy at the top, so that
`motet --version` and `motet --help` are there at once. What they share: `models` opens a model,
`answers` shows a turn on a screen or in a pipe, `terminal` keeps the terminal safe, `documents`
reads and writes JSON. Every error a person can cause is one sentence on stderr and exit code 2.
"""
