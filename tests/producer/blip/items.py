"""Items as Blip and public repositories show them, and how tests turn them into events.

Names follow their origin: documentation (`docs_`), help articles and public fixtures, and what was built to the same
schema where none was published (`made_`). Phone numbers are made up.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from pombo.producer.adapted import Adapted
from pombo.producer.blip import BlipOptions, Kind, adapt

OPTIONS = BlipOptions(b"a key of one source")
ALL = replace(OPTIONS, bodies="full", tickets=True)
HASHED = replace(OPTIONS, identity="hmac")

VERSION = version("pombo")

Item = dict[str, Any]


def one(item: Mapping[str, Any], options: BlipOptions = OPTIONS, kind: Kind | None = None) -> Adapted:
    """The one event that an item makes."""
    (made,) = adapt(item, options, kind=kind)
    return made


def event(item: Mapping[str, Any], options: BlipOptions = OPTIONS, kind: Kind | None = None) -> dict[str, Any]:
    """The one event that an item makes, without its ordering key."""
    return one(item, options, kind).event


def properties(item: Mapping[str, Any], options: BlipOptions = OPTIONS) -> dict[str, Any]:
    """The properties of the one event that an item makes."""
    found: dict[str, Any] = event(item, options)["properties"]
    return found


DOCS_MESSAGE: Item = {
    "id": "65603604-fe19-479c-c885-3195b196fe8e", "from": "551199991111@0mn.io/182310923192",
    "to": "mycontact@msging.net", "type": "text/plain", "content": "Hello World",
}  # fmt: skip
MESSENGER_MESSAGE: Item = {
    "id": "65603604-fe19-479c-c885-3195b196fe8e", "from": "182310923192@messenger.gw.msging.net",
    "to": "mychatbot@msging.net", "type": "text/plain", "content": "Hello World!",
}  # fmt: skip
DOCS_WITH_INSTANCE: Item = {
    "id": "99cf454e-f25d-4ebd-831f-e48a1c612cd4", "from": "551100001111@0mn.io/4ac58r6e3",
    "to": "blipmessaginghubapp@msging.net", "type": "text/plain", "content": "Help",
}  # fmt: skip
CHAT_MESSAGE: Item = {
    "type": "text/plain", "content": "aloooo", "id": "bc86a5ad-b847-4872-bf46-64c0356b716c",
    "from": "315644c5-3eba-4b5e-9516-6de9d4e333a6.myrouter@0mn.io/default", "to": "myrouter@msging.net",
    "metadata": {
        "#uniqueId": "c2a7c016-e1a5-4122-8ddf-e9cf24def049", "date_created": "1625559617643",
        "uber-trace-id": "24cabc654458601e%3A24cabc654458601e%3A0%3A1",
        "#envelope.storageDate": "2021-07-06T08:20:17Z",
    },
}  # fmt: skip
DOCS_MENU: Item = {
    "id": "311F87C0-F938-4FF3-991A-7C5AEF7771A5", "to": "1042221589186385@messenger.gw.msging.net",
    "type": "application/vnd.lime.select+json",
    "content": {
        "text": "Choose an option",
        "options": [
            {"text": "First option"},
            {"order": 2, "text": "Second option"},
            {"order": 3, "text": "Third option", "type": "application/json", "value": {"key1": "value1", "key2": 2}},
        ],
    },
}  # fmt: skip
DOCS_MENU_ANSWER: Item = {
    "id": "035E675C-D25B-437D-80BD-057AD6F70671", "from": "1042221589186385@messenger.gw.msging.net",
    "to": "blipcontact@msging.net", "type": "application/json", "content": {"key1": "value1", "key2": 2},
}  # fmt: skip
DOCS_CHAT_STATE: Item = {
    "to": "104222@telegram.gw.msging.net", "type": "application/vnd.lime.chatstate+json",
    "content": {"state": "composing"},
}  # fmt: skip
DOCS_MEDIA: Item = {
    "id": "1", "to": "553199991111@0mn.io", "type": "application/vnd.lime.media-link+json",
    "content": {
        "title": "Cat", "text": "Here is a cat image for you!", "type": "image/jpeg",
        "uri": "http://2.bp.blogspot.com/-pATX0YgNSFs/VP-82AQKcuI/AAAAAAAALSU/Vet9e7Qsjjw/s1600/Cat-hd-wallpapers.jpg",
        "aspectRatio": "1:1", "size": 227791, "previewType": "image/jpeg",
        "previewUri": "https://encrypted-tbn3.gstatic.com/images?q=tbn:ANd9GcS8qkelB28RstsNxLi7gbrwCLsBVmobPjb5Irw",
    },
}  # fmt: skip
DOCS_SENSITIVE: Item = {
    "id": "1", "to": "1334448251684655@messenger.gw.msging.net", "type": "application/vnd.lime.sensitive+json",
    "content": {"type": "text/plain", "value": "Your password is 123456"},
}  # fmt: skip
DOCS_RECEIVED: Item = {
    "id": "65603604-fe19-479c-c885-3195b196fe8e", "from": "551199991111@0mn.io/182310923192",
    "to": "mycontact@msging.net", "event": "received",
}  # fmt: skip
DOCS_FAILED: Item = {
    "id": "65603604-fe19-479c-c885-3195b196fe8e", "from": "postmaster@msging.net/server1", "to": "mycontact@msging.net",
    "event": "failed", "reason": {"code": 42, "description": "Destination not found"},
}  # fmt: skip
DOCS_DISPATCHED: Item = {
    "event": "dispatched", "id": "fffc5c3c-a31e-43d6-b6a6-319f250f5248", "from": "d8ae95f8-3dfb9b@tunnel.msging.net",
    "to": "demobot4@msging.net",
    "metadata": {
        "#envelope.timestamp": "1574943680445", "#message.to": "routertestetelegram@msging.net",
        "#tunnel.owner": "postmaster@msging.net", "#envelope.storageDate": "2019-11-28T12:21:20.000Z",
    },
}  # fmt: skip
DOCS_BROADCAST_COPY: Item = {
    "type": "text/plain", "content": "Example", "id": "b2fea46b-a006-49e2-82fc-2e61e7832757",
    "from": "demobot@msging.net", "pp": "distList/demobot%40msging.net",
    "to": "2624285677641447@messenger.gw.msging.net",
    "metadata": {
        "#messagePurpose": "CONFIRMED_EVENT_REMINDER", "#scheduler.when": "11/26/2019 18:21:22",
        "#message.replaceVariables": "True", "#messageKind": "Active", "#channel.preserveClaims": "True",
        "#envelope.storageDate": "2019-11-26T18:21:27.000Z",
    },
}  # fmt: skip
DOCS_BROADCAST: Item = {
    "type": "text/plain", "content": "Nice!!", "id": "b2fea46b-a006-49e2-82fc-2e61e7832757",
    "from": "demobot@msging.net", "pp": "postmaster/demobot%40msging.net", "to": "distList@broadcast.msging.net",
    "metadata": {
        "#messagePurpose": "CONFIRMED_EVENT_REMINDER", "#scheduler.when": "11/26/2019 18:21:22",
        "#envelope.storageDate": "2019-11-26T18:21:27.000Z",
    },
}  # fmt: skip
DOCS_TRACK_COMMAND: Item = {
    "id": "{{$guid}}", "to": "postmaster@analytics.msging.net", "method": "set",
    "type": "application/vnd.iris.eventTrack+json", "uri": "/event-track",
    "resource": {
        "category": "payments", "action": "success-order", "contact": {"identity": "123456@messenger.gw.msging.net"},
    },
}  # fmt: skip
DOCS_TRACK: Item = {
    "category": "payments", "action": "success-order", "storageDate": "2016-01-01T12:30:00.000Z",
    "extras": {"expiration": "2015-12-30", "customerId": "199213"},
}  # fmt: skip
DOCS_CONTACT_COMMAND: Item = {
    "id": "{{$guid}}", "to": "postmaster@crm.msging.net", "method": "set", "uri": "/contacts",
    "type": "application/vnd.lime.contact+json",
    "resource": {
        "identity": "{{$user_identity}}", "name": "{{$user_name}}", "gender": "{{$user_gender}}",
        "group": "{{$user_group}}", "extras": {"plan": "Gold", "code": "1111"}, "source": "{{$user_channel_name}}",
    },
}  # fmt: skip
DOCS_TICKET: Item = {
    "type": "application/vnd.iris.ticket+json",
    "content": {
        "id": "{TICKET_ID}", "sequentialId": "{TICKET_SEQUENTIAL_ID}", "ownerIdentity": "{BOT_ID}",
        "customerIdentity": "{CUSTOMER_ID}", "customerDomain": "{CUSTOMER_DOMAIN}", "provider": "Webhook",
        "status": "Waiting", "storageDate": "2019-11-08T20:15:59.415Z", "rating": 0, "unreadMessages": 0,
        "closed": False, "customerInput": {"type": "text/plain", "value": "Hello world!"},
    },
    "id": "Ticket:{TICKET_ID}:Waiting", "from": "{TICKET_ID}@desk.msging.net/Webhook",
}  # fmt: skip
DOCS_TO_SUBBOT: Item = {
    "id": "{{$guid}}", "from": "ecb99cf5-fb5c-4376-8acd-4b478091de15@tunnel.msging.net", "to": "operator@msging.net",
    "type": "text/plain", "content": "Hello, I would like to talk to an attendant.",
}  # fmt: skip
DOCS_BACK_TO_ROUTER: Item = {
    "id": "{{$guid}}", "from": "operator@tunnel.msging.net/1654804277843415%40messenger.gw.msging.net",
    "to": "flow@msging.net/instance", "type": "text/plain", "content": "Hi, my name is Andre. How may I help you?",
}  # fmt: skip
THREAD_MESSAGE: Item = {
    "id": "wamid.HBgNNTUxMTk4NzY1NDMyMRUCABIYFDNBMDAwMDAwMDAwMDAwMDBURVNUAA==", "direction": "received",
    "type": "text/plain", "content": "#atendimento", "date": "2023-02-27T11:59:42.324Z", "status": "dispatched",
    "metadata": {
        "#wa.timestamp": "1677499180", "uber-trace-id": "66cf002b96540ee4%3A66cf002b96540ee4%3A0%3A1",
        "$internalId": "c5c146aa-206f-4ab1-8be4-a6945924e509",
        "$originatorSessionRemoteNode": "postmaster@wa.gw.msging.net/#msging-gateway-whatsapp-4wctz",
        "#uniqueId": "c5c146aa-206f-4ab1-8be4-a6945924e509", "date_created": "1677499182297",
        "#date_processed": "1677499182297", "$elapsedTimeToStorage": "00:00:00.0335338",
    },
}  # fmt: skip
DOCS_ACCOUNT: Item = {
    "fullName": "John Doe", "alternativeAccount": "5531988889999@wa.gw.msging.net",
    "identity": "5531988889999@wa.gw.msging.net", "phoneNumber": "+5531988889999", "source": "WhatsApp",
}  # fmt: skip
MADE_TRACK: Item = {
    "ownerIdentity": "mybot@msging.net", "identity": "5511987654321@wa.gw.msging.net",
    "contact": {"Identity": "5511987654321@wa.gw.msging.net"}, "messageId": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "storageDate": "2025-02-18T13:15:00.123Z", "category": "flow", "action": "2.0 - Boas Vindas",
    "extras": {
        "stateId": "onboarding", "#stateName": "2.0 - Boas Vindas", "#stateId": "64a46c6a-0000-4000-8000-000000000001",
        "#messageId": "0f8fad5b-d9cb-469f-a165-70867728950e", "#previousStateId": "onboarding",
        "#previousStateName": "Início",
    },
}  # fmt: skip
MADE_CONTACT: Item = {
    "identity": "5511987654321@wa.gw.msging.net", "name": "Maria Exemplo", "email": "maria@example.com",
    "phoneNumber": "+5511987654321", "city": "São Paulo", "gender": "female", "culture": "pt-br",
    "taxDocument": "529.982.247-25", "group": "clientes", "source": "WhatsApp",
    "lastMessageDate": "2025-02-18T13:15:00.000Z", "extras": {"plan": "Gold", "cpf": "52998224725"},
}  # fmt: skip
MADE_BY_AGENT: Item = {
    "type": "text/plain", "content": "Bom dia, em que posso ajudar?", "id": "fwd:7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "from": "mybot@msging.net/msging-application-router-1", "to": "5511987654321@wa.gw.msging.net",
    "metadata": {
        "#messageEmitter": "Human", "#message.agentIdentity": "ana%40example.com@blip.ai", "#messageKind": "Response",
        "#uniqueId": "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "#envelope.storageDate": "2025-02-18T13:16:02Z",
    },
}  # fmt: skip
MADE_WHATSAPP: Item = {
    "id": "wamid.HBgNNTUxMTk4NzY1NDMyMRUCABIYFDNBMDAwMDAwMDAwMDAwMDBURVNUAA==",
    "from": "5511987654321@wa.gw.msging.net", "to": "mybot@msging.net", "type": "application/vnd.lime.reply+json",
    "content": {
        "replied": {"type": "text/plain", "value": "sim, quero"},
        "inReplyTo": {
            "id": "wamid.HBgNNTUxMTk4NzY1NDMyMRUCABEYEjAwMDAwMDAwMDAwMDAwMDAwMAA=", "type": "text/plain",
            "value": "Quer o plano Gold?",
        },
    },
    "metadata": {
        "#wa.timestamp": "1739884500", "#wa.context.from": "5511987654321",
        "#wa.context.id": "wamid.HBgNNTUxMTk4NzY1NDMyMRUCABEYEjAwMDAwMDAwMDAwMDAwMDAwMAA=",
        "#messageId": "wamid.HBgNNTUxMTk4NzY1NDMyMRUCABEYEjAwMDAwMDAwMDAwMDAwMDAwMAA=", "#wa.forwarded": None,
    },
}  # fmt: skip
ALL_ITEMS = [
    DOCS_MESSAGE, MESSENGER_MESSAGE, DOCS_WITH_INSTANCE, CHAT_MESSAGE, DOCS_MENU, DOCS_MENU_ANSWER, DOCS_CHAT_STATE,
    DOCS_MEDIA, DOCS_SENSITIVE, DOCS_RECEIVED, DOCS_FAILED, DOCS_DISPATCHED, DOCS_BROADCAST_COPY, DOCS_BROADCAST,
    DOCS_TRACK, DOCS_TICKET, DOCS_TO_SUBBOT, DOCS_BACK_TO_ROUTER, THREAD_MESSAGE, MADE_TRACK, MADE_CONTACT,
    MADE_BY_AGENT, MADE_WHATSAPP,
]  # fmt: skip
"""Every item that is known, of every kind."""


def is_silent(item: Mapping[str, Any], options: BlipOptions) -> bool:
    """Whether an item makes no event."""
    return not adapt(item, options)
