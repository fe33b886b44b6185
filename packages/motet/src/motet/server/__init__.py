"""HTTP in front of an engine: OpenAI's Responses and Chat Completions over harmony turns.

Three layers. Pure translation (`chat/`, `responses/`, with `tools`, `prompts`, `stops` and `scores`
between them): a request becomes a conversation, rules and sampling, and harmony events become API
events; nothing there waits or reads. Then what a request needs while it runs: `generation` plays
turns, `store` keeps them, `memory` keeps their exact tokens. Last the house around it: `app`,
`keys`, `limits`, `metrics`, `logs`, `settings`. Nothing heavy is imported until a server is made.
"""
