"""Questions of each intent to train on: templates, pieces of the standard library, utterances of CLINC150.

The templates and their words were written for this project. Code to be explained or mended is that of Python's standard
library (PSF licence). CLINC150 (S. Larson et al., EMNLP 2019, CC BY 3.0) is read from MILLRACE_TEST_DATA. Nothing of
what the classifier is measured on is here: `tests/data/intents`.
"""

import ast
import inspect
import json
import random
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from schemas.chat import Intent

UNLIKE_GENERAL = frozenset({"calculator", "tell_joke"})
"""Intents of CLINC150 that are no general questions in our sense."""
MODULES = ("bisect", "calendar", "csv", "difflib", "fnmatch", "functools", "heapq", "shutil", "statistics", "textwrap")
SLOT = re.compile(r"\{(\w+)\}")

WORDS: dict[str, tuple[str, ...]] = {
    "language": (
        "Python",
        "Java",
        "JavaScript",
        "TypeScript",
        "Rust",
        "Go",
        "C++",
        "C#",
        "Ruby",
        "Kotlin",
        "SQL",
        "Bash",
        "PHP",
        "Swift",
    ),
    "task": (
        "reverse a linked list",
        "parse a CSV file",
        "merge two dictionaries",
        "remove duplicates from a list",
        "check whether a string is a palindrome",
        "read a JSON file and print its keys",
        "sort a list of tuples",
        "compute the factorial of a number",
        "find the shortest path in a graph",
        "flatten a nested list",
        "validate a phone number",
        "download a file over HTTP",
        "count the vowels in a sentence",
        "retry a request with exponential backoff",
        "split a string at commas",
        "convert a date to ISO 8601",
        "rotate a matrix by 90 degrees",
        "find all anagrams in a list of words",
        "draw a triangle of stars",
        "implement a least recently used cache",
        "traverse a binary tree in order",
        "generate prime numbers",
        "connect to a PostgreSQL database",
        "rename all files in a folder",
        "transpose a matrix",
        "hash a password",
    ),
    "thing": (
        "a REST endpoint",
        "a class for a stack",
        "a React component for a login form",
        "a unit test for this function",
        "a Dockerfile for a Flask app",
        "a regular expression for dates",
        "a shell script that backs up a folder",
        "a decorator that measures time",
        "a SQL query that joins orders and customers",
        "a GitHub Actions workflow",
        "a CSS style for a round button",
        "a context manager",
        "a thread-safe counter",
        "a Makefile",
        "a web scraper",
        "a recursive function",
        "an async generator",
        "a binary heap",
        "a trie",
        "a small chat server with sockets",
    ),
    "error": (
        "TypeError: 'NoneType' object is not subscriptable",
        "a segmentation fault",
        "IndexError: list index out of range",
        "undefined is not a function",
        "a deadlock",
        "error: cannot borrow as mutable",
        "a NullPointerException",
        "KeyError: 'id'",
        "SyntaxError: invalid syntax",
        "an infinite loop",
        "a memory leak",
        "a race condition",
    ),
    "name": ("Anna", "Ben", "Carla", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kemi", "Liam"),
    "goods": (
        "apples",
        "pencils",
        "books",
        "tickets",
        "cookies",
        "marbles",
        "shirts",
        "eggs",
        "bricks",
        "litres of paint",
    ),
    "n": tuple(
        str(number) for number in (2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 18, 20, 24, 25, 30, 36, 40, 48, 60, 75, 90, 120)
    ),
    "place": ("the station", "school", "the market", "the next town", "the harbour", "work", "the summit"),
    "animal": ("cat", "dog", "sheep", "raven", "fox", "snail", "whale", "horse", "rose", "oak", "bird", "mammal"),
    "topic": (
        "the sea",
        "autumn",
        "a lost umbrella",
        "friendship",
        "a robot that learns to dance",
        "the night shift",
        "an old mill",
        "a dragon who is afraid of fire",
        "first love",
        "the moon",
        "a city under water",
        "coffee",
        "a lighthouse keeper",
        "growing older",
        "a detective in a small village",
        "winter in the mountains",
        "a letter that arrives fifty years late",
        "a talking cat",
        "the last train home",
        "a garden at dawn",
    ),
    "form": (
        "poem",
        "short story",
        "haiku",
        "limerick",
        "sonnet",
        "song",
        "fairy tale",
        "monologue",
        "screenplay scene",
    ),
    "style": (
        "Shakespeare",
        "a noir detective",
        "Hemingway",
        "a children's book",
        "a grumpy pirate",
        "a romantic novel",
    ),
    "text": (
        "a birthday speech for my grandmother",
        "a wedding toast",
        "a slogan for a bakery",
        "a product description",
        "a cover letter",
        "a thank-you note to a colleague",
        "an invitation to a summer party",
        "a newsletter article",
        "a blog post about travelling in Japan",
        "a press release for a new app",
        "a motivational speech",
        "a LinkedIn post about a promotion",
        "an email to the team that announces a new hire",
        "a restaurant review",
        "a letter of complaint to an airline",
        "an advertisement for a bicycle",
        "a eulogy",
        "a column on city life",
    ),
    "role": (
        "a medieval monk",
        "a stand-up comedian",
        "a wise old wizard",
        "Sherlock Holmes",
        "a job interviewer",
        "an astronaut",
        "a Viking",
        "a fortune teller",
        "a football coach",
        "a ghost in a castle",
        "a tour guide in Rome",
        "Albert Einstein",
        "a life coach",
        "an alien who visits Earth",
        "a famous painter",
        "a travel agent",
    ),
    "system": (
        "the billing service",
        "the login page",
        "the deployment pipeline",
        "the staging server",
        "the search index",
        "the mobile app",
        "the data warehouse",
        "the webhook",
        "the nightly backup",
        "the API gateway",
        "the queue",
    ),
    "matter": (
        "the release",
        "the budget",
        "the outage",
        "the security audit",
        "the onboarding",
        "the vacation policy",
        "the travel expenses",
        "the roadmap",
        "the contract",
        "the customer meeting",
        "the migration",
        "the incident",
        "the quarterly goals",
        "the code freeze",
        "the support rota",
        "the office move",
        "the price change",
    ),
    "team": ("the platform team", "marketing", "support", "the data team", "HR", "finance", "sales", "the design team"),
    "subject": (
        "photosynthesis",
        "inflation",
        "the French Revolution",
        "the immune system",
        "plate tectonics",
        "blockchain",
        "the water cycle",
        "solar panels",
        "the stock market",
        "democracy",
        "black holes",
        "sleep",
        "electric cars",
        "climate change",
        "the Roman Empire",
        "nutrition",
        "machine learning",
        "the Cold War",
        "antibiotics",
        "jazz",
    ),
    "aim": (
        "sleep better",
        "learn a language",
        "save money",
        "prepare for an interview",
        "lead a meeting",
        "eat healthier",
        "stay motivated",
        "choose a laptop",
        "grow tomatoes",
        "remember names",
        "train for a marathon",
    ),
}

TEMPLATES: dict[Intent, tuple[str, ...]] = {
    "code": (
        "Write a {language} function to {task}.",
        "How do I {task} in {language}?",
        "Write {thing} in {language}.",
        "{language} code to {task}",
        "Can you write {thing}?",
        "Implement {thing}.",
        "Create a {language} program that can {task}.",
        "My {language} program fails with {error}. How do I fix it?",
        "Why do I get {error} in {language}?",
        "Refactor this {language} code so that it is easier to read.",
        "Debug this: {error}",
        "Show me {thing} using {language}.",
        "Convert this {language} snippet to {language}.",
        "Develop a script to {task}.",
        "Give me a one-liner in {language} to {task}.",
        "What is the time complexity of an algorithm to {task}?",
        "Optimise this {language} loop.",
        "Add type hints to this {language} function.",
        "Write a program to {task}",
        "Build a simple web page in HTML with {thing}.",
        "Generate unit tests for a {language} function to {task}.",
        "Is there a library function in {language} to {task}?",
        "Write an efficient algorithm to {task}.",
        "Review this {language} pull request for bugs.",
        "Explain what this {language} code does.",
        "Use recursion to {task} in {language}.",
        "Implement an algorithm in {language}: {task}.",
    ),
    "reasoning": (
        "{name} has {n} {goods} and gives {n} of them to {name}. How many {goods} are left?",
        "If {n} {goods} cost {n} dollars, how much do {n} {goods} cost?",
        "A train leaves {place} at {n} km/h and another one {n} minutes later at {n} km/h. When do they meet?",
        "{name} is {n} years older than {name}. In {n} years {name} will be twice as old. How old is {name} now?",
        "Solve {n}x + {n} = {n} for x.",
        "Solve the system x + y = {n}, x - y = {n}.",
        "What is the derivative of x^{n} + {n}x?",
        "What is the probability of drawing {n} red balls from a bag with {n} red and {n} blue ones?",
        "All {animal}s are {animal}s. Some {animal}s are black. Does it follow that some {animal}s are black?",
        "{name} is taller than {name}, and {name} is taller than {name}. Who is the shortest?",
        "What comes next in the sequence {n}, {n}, {n}, {n}?",
        "Prove that the sum of two odd numbers is even.",
        "{name}, {name} and {name} sit in a row. {name} does not sit beside {name}. Who sits in the middle?",
        "A rectangle is {n} cm long and {n} cm wide. What is its area and its perimeter?",
        "What is {n}% of {n}?",
        "{name} walks {n} km north, then {n} km east. How far is {name} from {place}?",
        "Compute {n} * {n} - {n} / {n}.",
        "How many {goods} fit into a bus? Estimate step by step.",
        "Estimate how many {goods} are sold in a city each day, and explain your reasoning.",
        "Given f(x) = {n}x^2 + {n}x - {n}, what is f({n})?",
        "If it rains the street is wet. The street is wet. Did it rain? Explain the logic.",
        "A shop reduces {goods} by {n} percent and then by {n} percent more. What is the total reduction?",
        "{n} workers build a wall in {n} days. How long do {n} workers need?",
        "How many ways are there to arrange {n} {goods} on a shelf?",
        "Which is the odd one out: {animal}, {animal}, {animal}, table?",
        "Three boxes are labelled wrongly. How do you find out what is in which with one draw?",
        "{name}'s mother has {n} children. How many siblings does {name} have?",
        "Think step by step: which of the two offers is cheaper over {n} months?",
        "A is north of B and B is east of C. In which direction is A from C?",
        "Integrate {n}x^2 from 0 to {n}.",
        "What are the roots of x^2 - {n}x + {n}?",
        "{name} says that {name} lies. {name} says that both tell the truth. Who lies?",
        "A tank fills in {n} hours and empties in {n}. When is it full if both are open?",
        "{name} earns {n} dollars an hour and works {n} hours a week. How much is that in {n} weeks?",
    ),
    "creative": (
        "Write a {form} about {topic}.",
        "Compose a {form} about {topic} in the style of {style}.",
        "Tell me a story about {topic}.",
        "Write {text}.",
        "Help me write {text}.",
        "Draft {text}, warm and short.",
        "Can you come up with {text}?",
        "Act as {role} and answer my questions.",
        "Pretend to be {role}. How was your day?",
        "You are {role}. Describe what you see.",
        "Imagine you are {role}. What would you tell a child?",
        "Describe {topic} as vividly as you can.",
        "Invent a character for a novel about {topic}.",
        "Give me ten titles for a {form} about {topic}.",
        "Continue this story: it all began with {topic}.",
        "Rewrite this paragraph in the style of {style}.",
        "Write a dialogue between {role} and {role}.",
        "Make up a myth that explains {topic}.",
        "As {role}, how would you greet a guest?",
        "I need a creative name for a café about {topic}.",
        "Write the first chapter of a novel about {topic}.",
        "Write lyrics about {topic}.",
        "Polish this text so that it sounds more elegant.",
        "Brainstorm plot twists for a {form} about {topic}.",
        "Take the role of {role} in our conversation.",
        "Write a funny {form} for a friend who likes {topic}.",
        "Turn this into a {form}.",
        "Correct the grammar and improve the style of this paragraph.",
    ),
    "general": (
        "Who is responsible for {matter}?",
        "When was {matter} decided?",
        "What did {team} say about {matter}?",
        "Where do I find the notes on {matter}?",
        "What changed in {system} last week?",
        "Who fixed {system}?",
        "Why was {system} down on Monday?",
        "How often is {system} backed up?",
        "Which version of {system} runs in production?",
        "Who opened the issue about {system}?",
        "What is the status of {matter}?",
        "Summarise {matter}.",
        "How do I request access to {system}?",
        "What is our policy on {matter}?",
        "Does {team} use {system}?",
        "What was agreed with {team} on {matter}?",
        "Which pull request changed {system}?",
        "What are the open questions about {matter}?",
        "List the deadlines of {matter}.",
        "Is there a runbook for {system}?",
        "Explain {subject}.",
        "What is {subject}?",
        "Can you explain {subject} in simple terms?",
        "How does {subject} work?",
        "What are the causes of {subject}?",
        "What are the advantages and disadvantages of {subject}?",
        "How can I {aim}?",
        "What is the best way to {aim}?",
        "Give me tips to {aim}.",
        "What is the history of {subject}?",
        "What are the main differences between {subject} and {subject}?",
        "Why is {subject} important?",
        "What if {subject} had never existed?",
        "How did {subject} change society?",
        "Compare {subject} with {subject}.",
        "What are the risks of {subject}?",
        "Translate this sentence into Spanish.",
        "Classify these reviews as positive or negative.",
        "Extract the names and dates from this text.",
        "Which questions does this document answer about {matter}?",
        "What are the pros and cons of {language} for {team}?",
        "What do people think of {subject}?",
    ),
}


def filled(template: str, chance: random.Random) -> str:
    """Return the template with a word in each slot."""
    return SLOT.sub(lambda slot: chance.choice(WORDS[slot[1]]), template)


def pieces(chance: random.Random) -> Iterator[str]:
    """Yield requests around functions of the standard library."""
    asks = (
        "What does this function do?",
        "Find the bug in this code:",
        "Write tests for this:",
        "Why is this slow?",
        "Refactor this.",
    )
    for name in MODULES:
        tree = ast.parse(inspect.getsource(import_module(name)))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                summary = (ast.get_docstring(node) or "").split("\n")[0].rstrip(".")
                node.body = node.body[1:] if summary and len(node.body) > 1 else node.body
                yield f"{chance.choice(asks)}\n\n```\n{ast.unparse(node)[:600]}\n```"
                if summary:
                    yield f"Write a function that does the following: {summary}."


def utterances(data: Path, split: str = "train") -> list[str]:
    """Return the in-scope utterances of CLINC150 that are general questions. Raises OSError where the data is away."""
    said = json.loads((data / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    return [text for text, intent in said[split] if intent not in UNLIKE_GENERAL]


def questions(data: Path, each: int, seed: int) -> list[tuple[str, Intent]]:
    """Return about `each` questions per intent, no two the same: of `general` half are utterances."""
    chance = random.Random(seed)
    made: list[tuple[str, Intent]] = []
    for intent, templates in TEMPLATES.items():
        fixed: Sequence[str] = ()
        if intent == "general":
            fixed = chance.sample(utterances(data), each // 2)
        elif intent == "code":
            fixed = list(pieces(chance))[: each // 3]
        texts = dict.fromkeys(fixed)
        for _ in range(20 * each):
            if len(texts) >= each:
                break
            texts[filled(chance.choice(templates), chance)] = None
        made += [(text, intent) for text in texts]
    return made
