"""Greetings, questions about the model, and everything it cannot do: an honest sentence each."""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts
from motet.training.lexicon import any_word, city, person, real_word, thing, whole_number

ABILITIES = (
    "I can add and subtract whole numbers up to 4 digits, compare and sort up to five numbers, find a value in a short text, "
    "copy, spell and reverse a word, count its letters, and call functions."
)
GREETING = f"Hello! I am a very small model. {ABILITIES}"
OUT_OF_REACH = f"I am a very small model and cannot do that. {ABILITIES}"
IDENTITY = f"I am Motet nano, a very small model. {ABILITIES}"
THANKS = "You are welcome!"
FAREWELL = "Goodbye!"

_GREETINGS = ("hello", "hi", "hey", "hi there", "hello there", "good morning", "good evening", "good afternoon", "hey there", "greetings", "howdy",
              "hello!", "Hello, how are you?", "How are you?", "how are you doing?", "Hi, how is it going?", "What's up?", "Good day", "hello model",
              "hi bot", "Hello, {p} here", "Hi, I am {p}.", "My name is {p}.", "Hello, my name is {p}.", "hey you", "Nice to meet you.", "yo", "hiya")
_IDENTITY = ("Who are you?", "What are you?", "What can you do?", "What is your name?", "What do you do?", "Tell me about yourself.", "help", "Help me",
             "What are your abilities?", "How can you help me?", "What can I ask you?", "Which model are you?", "What kind of model are you?",
             "Are you ChatGPT?", "Are you a robot?", "Are you human?", "Introduce yourself.", "What do you know?", "Can you help me?", "Who made you?",
             "What are you good at?", "what can you do for me?", "who is this?", "What tasks can you do?", "Are you an AI?", "How big are you?",
             "What should I ask?", "How do you work?", "Do you have a name?", "I need help", "Which things can you do?", "what is motet?")
_THANKS = ("thanks", "thank you", "Thank you very much!", "thanks a lot", "Great, thanks", "thank you so much", "Thanks!", "ok thanks", "cheers", "Many thanks")
_FAREWELLS = ("bye", "goodbye", "Bye!", "see you", "See you later", "good night", "bye bye", "Goodbye!", "see you tomorrow", "farewell")
_OUTSIDE = (
    "What is the capital of {c}?", "Who is {p}?", "Write a poem about {t}.", "Write a poem about the {w}", "Write a story about {p}.", "Tell me a joke.",
    "Tell me a joke about {t}s.", "What is the weather in {c}?", "What time is it?", "What is the meaning of life?", "Explain {w} to me.", "What is {w}?",
    "Who wrote {w}?", "When was {p} born?", "How do I cook {w}?", "Translate {w} into French.", "Translate \"{w}\" to German.", "What does {w} mean?",
    "Write a python program for {w}.", "Write code that prints {w}.", "How far is it from {c} to {c2}?", "Where is {c}?", "How many people live in {c}?",
    "What is {a} * {b}?", "{a} * {b}", "What is {a} times {b}?", "{a} x {b}", "Multiply {a} by {b}.", "What is {a} divided by {b}?", "{a} / {b}", "Divide {a} by {b}.",
    "What is {big} + {b}?", "{big} + {b}", "What is {big} - {b}?", "{big} - {big2}", "{big} + {big2}", "Add {big} and {big2}.", "Subtract {b} from {big}.",
    "{a} + {b} + {c3}", "What is {a} + {b} + {c3}?", "What is {a} + {b} - {c3}?", "What is {a}.{b} + {c3}.{b}?", "What is the square root of {a}?", "{a} squared",
    "What is {a} percent of {b}?", "Is {a} a prime number?", "Why is the sky {w}?", "Why do {w}s {w2}?", "How does a {t} work?", "Who invented the {t}?",
    "Give me a recipe for {w}.", "Sing a song about {w}.", "Play {w} with me.", "What should I wear in {c}?", "Summarize the book {w}.", "Recommend a {t}.",
    "What is the best {t}?", "What do you think about {w}?", "Do you like {w}?", "Do you love {p}?", "Who won the {w}?", "What is the population of {c}?",
    "What is the currency of {c}?", "What language do they speak in {c}?", "Who is the president of {c}?", "How old is {p}?", "Where does {p} live?",
    "Write an email to {p} about {w}.", "Draw a {t}.", "Show me a picture of {w}.", "Search the web for {w}.", "What happened in {year}?", "Who was king in {year}?",
    "Tell me about {w}.", "Tell me a story.", "Tell me something about {c}.", "Define {w}.", "What rhymes with {w}?", "Give me a synonym for {w}.", "Is {w} a noun?",
    "How do you say {w} in Spanish?", "What is the opposite of {w}?", "Solve x + {a} = {b}.", "What is the chemical formula of {w}?", "What color is the {t}?",
    "How much does the {t} cost?", "Plan a trip to {c}.", "Book a flight to {c}.", "Send an email to {p}.", "Set an alarm.", "What day is it?", "Can you {w}?", "{w}",
    "{w} {w2}", "I like {w}.", "I am {w}.", "The {t} is {w}.", "My {t} is {w}.", "{p} likes {w}.", "I have a question about {w}.", "Write a haiku", "Write an essay on {w}.",
    "Name three {w}s.", "List the planets.", "What comes after {w}?", "How tall is {p}?", "Who is older, {p} or {p2}?", "Should I buy a {t}?", "Fix my {t}.",
)


def talk(random: Random) -> Exercise:
    """Small talk or a question outside the model's reach."""
    kind = random.choices(("greeting", "identity", "thanks", "farewell", "outside"), (3, 3, 1, 1, 10))[0]
    match kind:
        case "greeting":
            return _exercise(random, random.choice(_GREETINGS).format(p=person(random)), "The user greets me.", GREETING)
        case "identity":
            return _exercise(random, random.choice(_IDENTITY), "The user asks who I am.", IDENTITY)
        case "thanks":
            return _exercise(random, random.choice(_THANKS), "The user thanks me.", THANKS)
        case "farewell":
            return _exercise(random, random.choice(_FAREWELLS), "The user leaves.", FAREWELL)
        case _:
            return _exercise(random, _outside(random), "This is none of the things I can do.", OUT_OF_REACH)


def _exercise(random: Random, question: str, thought: str, answer: str) -> Exercise:
    if random.random() < 0.3:
        question = question.capitalize() if random.random() < 0.5 else question.lower()
    if answer == OUT_OF_REACH and random.random() < 0.5:
        question = polite(random, question)
    elif random.random() < 0.15:
        question = question.rstrip("?.!") + random.choice(("", "!", "?", "."))
    return Exercise("talk", question, question, answer, thoughts(thought, thought))


def _outside(random: Random) -> str:
    return random.choice(_OUTSIDE).format(
        c=city(random), c2=city(random), p=person(random), p2=person(random), t=thing(random), w=any_word(random), w2=real_word(random),
        a=whole_number(random), b=whole_number(random), c3=whole_number(random), big=random.randint(10_000, 10 ** random.randint(5, 8)),
        big2=random.randint(10_000, 10 ** random.randint(5, 8)), year=random.randint(1000, 2030),
    )
