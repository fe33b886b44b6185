"""Chat Completions: messages in, one choice or several out, whole or in pieces.

Pure but for `routes.py`. The chain of thought is `reasoning_content`, calls are `tool_calls`, and
preambles and answers are `content`.
"""
