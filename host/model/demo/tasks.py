# SPDX-License-Identifier: Apache-2.0
"""Small sums, unit conversions, JSON extraction and repeating.  Each maker returns (question, answer, key of the held-out split)."""
import json

import names

# ---------------------------------------------------------------- sums

PLUS = ["{a} + {b}", "{a}+{b}", "{a} plus {b}", "add {a} and {b}", "add {b} to {a}", "the sum of {a} and {b}", "{a} and {b} together",
        "{a} added to {b}"]
MINUS = ["{a} - {b}", "{a}-{b}", "{a} minus {b}", "subtract {b} from {a}", "take {b} away from {a}", "{a} less {b}",
         "the difference of {a} and {b}"]
TIMES = ["{a} * {b}", "{a}*{b}", "{a} x {b}", "{a} times {b}", "{a} multiplied by {b}", "multiply {a} by {b}", "the product of {a} and {b}",
         "multiply {a} and {b}"]
ASK = ["what is {}", "what is {}", "what's {}", "{}", "{}", "{}", "calculate {}", "compute {}", "how much is {}", "tell me {}",
       "can you calculate {}", "{} =", "what does {} make", "please work out {}", "whats {}", "solve {}", "{} is", "what is the result of {}",
       "give me {}", "i need {}"]
WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty""".split()


def operand(rng):
    return rng.randrange(rng.choice([11, 21, 100, 100, 100]))


def arithmetic(rng):
    op = rng.choice("++++----**")
    if op == "*":
        a, b, phrases, result = rng.randrange(13), rng.randrange(13), TIMES, None
        result = a * b
    else:
        a, b = operand(rng), operand(rng)
        if op == "-" and a < b and rng.random() < 0.5:
            a, b = b, a
        phrases, result = (PLUS, a + b) if op == "+" else (MINUS, a - b)
    words = max(a, b) <= 20 and rng.random() < 0.12
    say = WORDS if words else range(100)
    phrase = rng.choice(phrases)
    if op == "-" and a < b and "difference" in phrase:
        phrase = "{a} - {b}"        # people mean the distance
    if words and phrase[:4] in ("{a}+", "{a}-", "{a}*"):
        phrase = "{a} " + {"+": "plus", "-": "minus", "*": "times"}[op] + " {b}"
    phrase = phrase.format(a=say[a], b=say[b])
    ask = rng.choice(ASK)
    if phrase[0].isalpha() and phrase.split()[0] in ("add", "subtract", "take", "multiply"):
        ask = rng.choice(["{}", "{}", "please {}", "can you {}", "could you {}", "what do i get if i {}"])
    question = ask.format(phrase)
    sign = "x" if op == "*" else op
    # Sums are held out by their operands: the test asks for sums never seen.  The times table is
    # small enough to be learnt by heart, so only its wordings are held out.
    key = question if op == "*" else f"{a} {op} {b}"
    return question, f"{a} {sign} {b} = {result}.", key


# ---------------------------------------------------------------- units

UNITS = [  # big, its names, small, its names, factor, largest count
    ("km", ["km", "kilometres", "kilometers"], "m", ["m", "metres", "meters"], 1000, 50),
    ("m", ["m", "metres", "meters"], "cm", ["cm", "centimetres", "centimeters"], 100, 50),
    ("kg", ["kg", "kilograms", "kilos"], "g", ["g", "grams", "grammes"], 1000, 50),
    ("h", ["h", "hours"], "min", ["min", "minutes"], 60, 12),
    ("min", ["min", "minutes"], "s", ["s", "seconds"], 60, 12),
    ("days", ["days"], "h", ["h", "hours"], 24, 10),
    ("weeks", ["weeks"], "days", ["days"], 7, 20),
    ("GB", ["GB", "gigabytes", "gb"], "MB", ["MB", "megabytes", "mb"], 1000, 50),
    ("l", ["l", "litres", "liters"], "ml", ["ml", "millilitres", "milliliters"], 1000, 50),
]
CONVERT = ["convert {n} {u} to {v}", "convert {n} {u} into {v}", "{n} {u} in {v}", "{n} {u} to {v}", "what is {n} {u} in {v}",
           "how many {v} are {n} {u}", "how many {v} are in {n} {u}", "how much is {n} {u} in {v}", "{n} {u} is how many {v}",
           "how many {v} is {n} {u}", "express {n} {u} in {v}", "what are {n} {u} in {v}", "change {n} {u} to {v}", "i have {n} {u}, how many {v} is that"]


def plain(unit, n):
    return unit[:-1] if n == 1 and unit in ("days", "weeks") else unit


def units(rng):
    big, bigs, small, smalls, factor, top = rng.choice(UNITS)
    n = rng.randint(1, rng.choice([10, top]))
    m = n * factor
    if rng.random() < 0.55:
        x, u, unit, y, vs, other = n, rng.choice(bigs), big, m, smalls, small
    else:
        x, u, unit, y, vs, other = m, rng.choice(smalls), small, n, bigs, big
    if x == 1 and len(u) > 3:
        u = u[:-1]
        x_said = rng.choice(["1", "1", "one"])
    else:
        x_said = str(x)
    question = rng.choice(CONVERT).format(n=x_said, u=u, v=rng.choice(vs))
    return question, f"{x} {plain(unit, x)} = {y} {plain(other, y)}.", question


# ---------------------------------------------------------------- JSON

def person(rng):
    r = rng.random()
    first = names.made_up(rng) if r < 0.35 else rng.choice(names.FIRST)
    if rng.random() < 0.6:
        return first
    return first + " " + (names.made_up(rng) if rng.random() < 0.3 else rng.choice(names.LAST))


def one_of(words, share=0.0):
    return lambda rng: names.made_up(rng) if rng.random() < share else rng.choice(words)


def date(rng):
    d, m = rng.randint(1, 28), rng.choice(names.MONTHS)
    return rng.choice([f"{d} {m}", f"{m} {d}", f"{d} {m} {rng.randint(2015, 2029)}", f"{rng.randint(2015, 2029)}-{rng.randint(1, 12):02}-{d:02}"])


def email(rng):
    user = rng.choice(names.FIRST).lower() if rng.random() < 0.6 else names.made_up(rng).lower()
    return f"{user}@{rng.choice(['mail', 'example', 'post', 'home', 'work'])}.{rng.choice(['com', 'org', 'net'])}"


FIELDS = {
    "name": person, "age": lambda r: r.randint(3, 95), "city": one_of(names.CITIES, 0.2), "country": one_of(names.COUNTRIES),
    "job": one_of(names.JOBS), "product": one_of(names.PRODUCTS), "quantity": lambda r: r.randint(2, r.choice([12, 99])),
    "colour": one_of(names.COLOURS), "price": lambda r: r.randint(1, r.choice([50, 900])), "date": date, "email": email,
    "time": lambda r: f"{r.randint(7, 21)}:{r.choice(['00', '15', '30', '45'])}", "event": one_of(names.EVENTS),
    "company": one_of(names.COMPANIES, 0.3), "weight": lambda r: r.randint(1, 90), "phone": lambda r: f"555-{r.randint(1000, 9999)}",
}

SHAPES = """{name} is {age} years old and lives in {city}.
{name} is {age} and lives in {city}.
{name}, {age}, is from {city}.
{name} is a {age} year old {job} from {city}.
{name} works as a {job} in {city}.
{name}, aged {age}, works as a {job} at {company}.
{name} lives in {city}, {country}.
My name is {name}, I am {age} years old and I come from {country}.
I am {name} from {city} and I work as a {job}.
{name} moved to {city} on {date}.
{name} was born in {city} on {date}.
{name} bought {quantity} {product} for {price} euros.
{name} ordered {quantity} {colour} {product} on {date}.
{name} from {city} ordered {quantity} {product} for {price} dollars.
Please send {quantity} {colour} {product} to {name} in {city}.
We sold {quantity} {product} to {name} for {price} euros on {date}.
{company} delivers {quantity} {product} to {city} on {date}.
The order of {name}: {quantity} {product}, {colour}, {price} euros.
On {date} {name} paid {price} euros for {quantity} {product}.
The {event} is on {date} at {time} in {city}.
The {event} with {name} starts at {time} on {date}.
{name} invites you to the {event} in {city} on {date}.
{name} will give a {event} at {company} at {time}.
You can reach {name} at {email}.
Write to {name} in {city} at {email} or call {phone}.
{name} works at {company}, the phone number is {phone}.
Call {name} at {phone} before {time}.
The parcel for {name} weighs {weight} kg and goes to {city}.
{company} in {city} pays {price} euros for {weight} kg.
A parcel of {weight} kg was sent from {company} to {country} on {date}.""".splitlines()

EXTRACT = ["extract {f} as json: {s}", "extract {f} as json from: {s}", "extract the {f} as json: {s}", "give me json with {f}: {s}",
           "get {f} as json: {s}", "make json with {f} from this sentence: {s}", "return {f} as json. {s}", "{s} extract {f} as json.",
           "{s}\nextract {f} as json.", "extract {f} from this sentence as json: {s}", "write json with the keys {f} for: {s}", "json with {f}: {s}",
           "find {f} in this text and answer in json: {s}", "extract {f}: {s}", "please extract {f} into json: {s}", "turn this into json with {f}: {s}"]
EXTRACT_ALL = ["extract json: {s}", "extract the fields as json: {s}", "extract all fields as json: {s}", "turn this sentence into json: {s}", "make json of this: {s}",
               "{s} turn that into json.", "as json: {s}", "convert to json: {s}", "give me the json for: {s}"]


def extraction(rng):
    shape = rng.choice(SHAPES)
    keys = [p.split("}")[0] for p in shape.split("{")[1:]]
    values = {k: FIELDS[k](rng) for k in keys}
    sentence = shape.format(**values)
    if rng.random() < 0.08:
        sentence = sentence.lower()
        values = {k: v.lower() if isinstance(v, str) else v for k, v in values.items()}
    if rng.random() < 0.8:
        asked, ask = rng.sample(keys, rng.randint(1, len(keys))), rng.choice(EXTRACT)
    else:
        asked, ask = keys, rng.choice(EXTRACT_ALL)
    label = {k: "color" if k == "colour" and rng.random() < 0.4 else k for k in asked}
    listed = [label[k] for k in asked]
    f = " and ".join(listed) if len(listed) < 3 or rng.random() < 0.2 else ", ".join(listed[:-1]) + " and " + listed[-1]
    if rng.random() < 0.15:
        f = ", ".join(listed)
    if ask in EXTRACT_ALL:
        label = {k: k for k in asked}
    question = ask.format(f=f, s=sentence)
    case = rng.random()
    if case < 0.7:
        question = question[:1].upper() + question[1:] if case < 0.6 or not question.startswith(sentence) else question
        question = question.replace("json", "JSON")
    answer = json.dumps({label[k]: values[k] for k in asked}, ensure_ascii=False, separators=(",", ":"))
    return question, answer, question


# ---------------------------------------------------------------- repeating

REPEAT = ["repeat: {}", "repeat after me: {}", "repeat {}", "copy: {}", "echo {}", "please repeat: {}", "repeat this: {}", "copy this text: {}"]
WORTH_COPYING = ["name", "name", "city", "product", "quantity", "price", "date", "email", "company", "phone", "time"]


def repeating(rng):
    """Plain copying.  Nobody needs it, but JSON extraction is learnt much sooner beside it."""
    parts = [str(FIELDS[rng.choice(WORTH_COPYING)](rng)) for _ in range(rng.randint(1, 4))]
    text = rng.choice([" ", ", "]).join(parts)
    question = rng.choice(REPEAT).format(text)
    if rng.random() < 0.5:
        question = question[:1].upper() + question[1:]
    return question, text, question
