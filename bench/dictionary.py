"""Train the zstd dictionary that ships with the package, from made-up chatbot events.

    python -m bench.dictionary shared/pombo/shared/dictionary_N.zstd

A new dictionary takes a new number: record batches in Redis name the one they were written with. What it is trained on
knows nothing of the dialogues that the benchmarks measure it with: words and phrases that any bot's users and any bot
may say, in English, Portuguese and Spanish, and the fields that chat platforms and Segment's own spec name.
"""

import random
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard

from pombo.shared.batches import HOLE, UUID
from pombo.shared.prepared import prepare

_SEED = 2
_SAMPLES = 30_000
_SIZE = 32 << 10
"""Bytes: twice as much would save a lone event one byte."""
_LEVEL = 3

_ENGLISH = """
the be to of and a in that have it for not on with as you do at this but by from they we say or an will my one all would
there what so up out if about who get which go me when make can like time no just know take people into year your good
some could them see other than then now look only come its over think also back after use two how our work first well
way even new want because any these give day most us is was are been has had did were said got here please thanks thank
hello hi hey sure great okay ok yes yeah right need help order name number address phone email account card payment
price total size small medium large extra more less change cancel add remove check confirm ready minutes hours today
tomorrow tonight morning afternoon evening monday tuesday wednesday thursday friday saturday sunday pick delivery store
open close available location city street code password login problem issue error working support agent human speak
talk wait moment anything else else's I'm I'd I'll don't can't that's it's what's let's you're we're doesn't didn't
something item items option options menu list question answer information details date book appointment flight hotel
ticket food drink coffee tea water pizza burger chicken cheese milk hot cold free white black red green blue
""".split()
_PORTUGUESE = """
o a de que e do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua ou quando muito nos
já eu também só pelo pela até isso ela entre depois sem mesmo aos seus quem nas me esse eles você essa num nem suas meu
às minha têm numa qual nós lhe deles este dele está estou quero preciso fazer falar ajuda olá oi bom dia boa tarde noite
obrigado obrigada por favor sim certo tudo bem pedido entrega pagamento boleto cartão pix conta fatura segunda via
endereço rua número telefone cpf nome cidade cep valor total produto loja horário hoje amanhã agora atendente atendimento
protocolo cadastro senha código problema erro resolver cancelar alterar confirmar opção digite escolha menu voltar
finalizar aguarde momento pode posso gostaria saber informação sobre seguro plano consulta agendar data
""".split()
_SPANISH = """
el la de que y en un ser se no haber por con su para como estar tener le lo todo pero más hacer o poder decir este ir
otro ese si me ya ver porque dar cuando muy sin vez mucho saber qué sobre mi alguno mismo yo también hasta año dos
querer entre así primero desde grande eso ni nos llegar pasar tiempo ella sí día uno bien poco hola buenos días tardes
gracias por favor quiero necesito ayuda pedido envío pago tarjeta cuenta dirección teléfono correo precio hora
""".split()
_PHRASES = (
    """
Hello! How can I help you today?|Hi, how are you?|Thank you for contacting us|Is there anything else I can help you with?
Please choose one of the options below|One moment please|Let me check that for you|I would like to|Can I get|Could you
What would you like|Anything else?|That will be all|Your order is|Your total is|has been confirmed|Sorry, I didn't understand
I'd like to speak to an agent|You're welcome|Have a nice day!|What is your name?|What is your phone number?|Okay, great.
Sounds good|No problem|Do you want|Would you like to|How much is it?|What time|Yes, please|No, thank you|Thanks!|, please.
Olá! Como posso ajudar?|Bom dia|Boa tarde|Boa noite|Tudo bem?|Escolha uma das opções|Digite o número da opção desejada
Não entendi, pode repetir?|Aguarde um momento|Vou transferir para um atendente|Obrigado pelo contato|Posso ajudar em algo mais?
Qual é o seu nome?|Informe o seu CPF|O seu pedido|Segunda via do boleto|Falar com atendente|Menu principal|Voltar|Sim|Não
Hola, ¿en qué puedo ayudarte?|Buenos días|Gracias por tu mensaje|¿Algo más?|Selecciona una opción|Hablar con un agente
""".strip()
    .replace("\n", "|")
    .split("|")
)
_CHANNELS = [
    "whatsapp",
    "web",
    "instagram",
    "messenger",
    "telegram",
    "sms",
    "teams",
    "email",
    "voice",
    "blip",
    "webchat",
]
_EVENTS = [
    "Message Sent", "Message Received", "Event Tracked", "Ticket Updated", "Order Completed", "Product Viewed",
    "Conversation Started", "Conversation Ended", "Button Clicked", "Flow Completed", "Handoff Requested", "Menu Selected",
    "Signed Up", "Product Added", "Checkout Started", "Survey Answered", "Intent Recognised", "Lead Generated", "Session Started",
]  # fmt: skip
_FIELDS = [
    "name", "email", "phone", "plan", "city", "country", "language", "source", "campaign", "category", "action", "label", "value",
    "status", "step", "block", "flow", "intent", "confidence", "score", "rating", "product_id", "order_id", "item", "query", "option",
    "quantity", "price", "currency", "total", "coupon", "sku", "date", "duration", "reason", "agent", "team", "queue", "bot", "version",
    "id", "type", "scenario", "title", "description", "url", "error", "code", "template", "button", "position", "createdAt", "first_name",
]  # fmt: skip
_CALLS = ["get", "add", "update", "remove", "create", "confirm", "cancel", "find", "check", "book", "list", "search"]
_THINGS = [
    "order",
    "item",
    "items",
    "menu",
    "store",
    "user",
    "account",
    "ticket",
    "payment",
    "product",
    "address",
    "appointment",
]
_LIBRARIES = [None] * 12 + [
    {"name": "analytics-node", "version": "2.3.0"},
    {"name": "analytics-python", "version": "2.3.5"},
]


class _Bot:
    """Make up events, the same for a seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def body(self) -> bytes:
        """One event, as the queue holds it."""
        rng = self._rng
        at = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(microseconds=rng.randrange(10**14))
        kind = rng.choices(["track", "identify", "page", "screen", "group", "alias"], [84, 10, 2, 1, 2, 1])[0]
        event: dict[str, Any] = {"type": kind}
        if rng.random() < 0.5:
            event |= self._who()
        event |= self._MAKERS[kind](self)
        event |= {} if "userId" in event or "anonymousId" in event else self._who()
        if (library := rng.choice(_LIBRARIES)) is not None:
            event["context"] = {"library": library}
        return prepare(event, now=at, new_id=lambda: self._message_id(at)).body

    def _who(self) -> dict[str, str]:
        some: Sequence[Callable[[], str]] = (self._uuid, self._number, self._phone, self._named)
        return {self._rng.choice(["userId"] * 4 + ["anonymousId"]): self._rng.choice(some)()}

    def _message_id(self, at: datetime) -> str:
        if self._rng.random() < 0.15:
            return self._uuid()
        rest = self._rng.getrandbits(74)
        digits = f"{int(at.timestamp() * 1000):012x}7{rest >> 62:03x}{rest & (1 << 62) - 1 | 1 << 63:016x}"
        return str(uuid.UUID(digits))

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def _number(self) -> str:
        return str(self._rng.randrange(10 ** self._rng.randrange(4, 12)))

    def _phone(self) -> str:
        return f"55{self._rng.randrange(10**10, 10**11)}@wa.gw.msging.net"

    def _named(self) -> str:
        start = self._rng.choice(
            ["user-", "u", "usr_", "customer-", "contact-", "chat-", "conv-", "dlg-", "session-", ""]
        )
        return start + self._rng.choice([self._uuid, self._number])()

    def _words(self, most: int) -> str:
        rng = self._rng
        words = rng.choices([_ENGLISH, _PORTUGUESE, _SPANISH], [6, 4, 1])[0]
        said = rng.choices(words, k=rng.randrange(1, most))
        if rng.random() < 0.2:
            said.insert(rng.randrange(len(said) + 1), str(rng.randrange(1000)))
        return " ".join(said)

    def _text(self) -> str:
        rng = self._rng
        some = [
            rng.choice([rng.choice(_PHRASES), self._words(14).capitalize(), self._words(9)])
            for _ in range(rng.randrange(1, 4))
        ]
        return rng.choice([" ", ". ", ", ", "! "]).join(some) + rng.choice(["", ".", "?", "!"])

    def _value(self) -> Any:
        rng = self._rng
        makers: Sequence[Callable[[], Any]] = [
            lambda: self._words(4), lambda: self._words(3).title(), self._number, self._uuid, lambda: rng.randrange(300),
            lambda: round(rng.random() * 100, 2), lambda: rng.random() < 0.5, lambda: None, lambda: rng.choice(_CHANNELS),
            lambda: "-".join(rng.choices(_ENGLISH, k=2)) + f"-{rng.randrange(10_000)}",
        ]  # fmt: skip
        return rng.choice(makers)()

    def _fields(self, most: int) -> dict[str, Any]:
        return {name: self._value() for name in self._rng.sample(_FIELDS, self._rng.randrange(most))}

    def _track(self) -> dict[str, Any]:
        rng = self._rng
        if rng.random() < 0.35:
            call = f"{rng.choice(_CALLS)}_{rng.choice(_THINGS)}"
            properties = {"turn": rng.randrange(20), "call": call, "args": self._fields(4)}
            return {"event": rng.choice(["Event Tracked", *_EVENTS]), "properties": properties}
        said: dict[str, Any] = rng.choice(
            [{"text": self._text()}, {"text": self._text()}, {"length": rng.randrange(300)}, {}]
        )
        message = {
            "direction": rng.choice(["inbound", "outbound"]), "role": rng.choice(["user", "bot", "agent", "customer"]),
            "channel": rng.choice(_CHANNELS), "content_type": rng.choice(["text/plain", "text/plain", "image/jpeg", "application/json"]),
            "conversation": self._uuid(),
        }  # fmt: skip
        some = dict(rng.sample(sorted(message.items()), rng.randrange(len(message) + 1)))
        turn = {"turn": rng.randrange(20)} if rng.random() < 0.4 else {}
        return {
            "event": rng.choice(_EVENTS[:3] * 6 + _EVENTS),
            "properties": {**turn, **some, **said, **self._fields(4)},
        }

    def _identify(self) -> dict[str, Any]:
        return {"traits": self._fields(8)}

    def _group(self) -> dict[str, Any]:
        return {"groupId": self._uuid(), "traits": self._fields(5)}

    def _page(self) -> dict[str, Any]:
        return {
            "name": self._words(4),
            "properties": {"url": "https://www.", "path": "/", "title": self._words(5), "referrer": ""},
        }

    def _screen(self) -> dict[str, Any]:
        return {"name": self._words(4), "properties": self._fields(4)}

    def _alias(self) -> dict[str, Any]:
        return {"previousId": self._uuid(), "userId": self._number()}

    _MAKERS: Mapping[str, Callable[["_Bot"], dict[str, Any]]] = {
        "track": _track, "identify": _identify, "page": _page, "screen": _screen, "group": _group, "alias": _alias,
    }  # fmt: skip


def main() -> None:
    """Write the dictionary to the path given."""
    bot = _Bot(random.Random(_SEED))
    # A lone event is compressed without its UUIDs.
    samples: list[bytes | bytearray | memoryview] = [UUID.sub(HOLE, bot.body()) for _ in range(_SAMPLES)]
    trained = zstandard.train_dictionary(_SIZE, samples, level=_LEVEL)
    Path(sys.argv[1]).write_bytes(trained.as_bytes())
    print(f"{sys.argv[1]}: {len(trained.as_bytes())} bytes from {len(samples)} events")


if __name__ == "__main__":
    main()
