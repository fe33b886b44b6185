"""The Responses API: items in, items out, kept for the next turn, in the foreground or behind it.

`items` and `requests` read what comes, `events` writes what goes; these three are pure. `running`
holds what runs in the background, `routes` and `conversations` are the HTTP side.
"""
