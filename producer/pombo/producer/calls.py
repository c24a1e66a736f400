"""The six calls, with the parameters of Segment's Python SDK, for every kind of producer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from pombo.shared.events import BaseEvent

R = TypeVar("R")
Event: TypeAlias = "Mapping[str, Any] | BaseEvent"
Object = Mapping[str, Any] | None
Moment = datetime | str | None


class Calls(ABC, Generic[R]):
    """Turn each call into an event and enqueue it.

    `user_id` or `anonymous_id` says whose event it is. `ordering_key` says which events keep their order
    among each other: by default those of one user_id, else of one anonymous_id; give the conversation, so
    that events from before and after a login keep theirs. `message_id` is made if absent; `timestamp` is then
    now.
    """

    @abstractmethod
    def enqueue(self, event: Event, ordering_key: str | None = None, *, strict: bool = True) -> R:
        """Take a ready event; unless `strict`, keys that Segment does not know are handed on."""

    def identify(  # noqa: PLR0917 - Segment's SDK takes them by position
        self,
        user_id: str | None = None,
        traits: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: str | None = None,
        integrations: Object = None,
        message_id: str | None = None,
        *,
        ordering_key: str | None = None,
    ) -> R:
        """Say who someone is."""
        event = {
            "type": "identify",
            "userId": user_id,
            "traits": traits,
            "context": context,
            "timestamp": timestamp,
            "anonymousId": anonymous_id,
            "integrations": integrations,
            "messageId": message_id,
        }
        return self.enqueue(event, ordering_key)

    def track(  # noqa: PLR0917 - Segment's SDK takes them by position
        self,
        user_id: str | None = None,
        event: str | None = None,
        properties: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: str | None = None,
        integrations: Object = None,
        message_id: str | None = None,
        *,
        ordering_key: str | None = None,
    ) -> R:
        """Say what someone did."""
        made = {
            "type": "track",
            "userId": user_id,
            "event": event,
            "properties": properties,
            "context": context,
            "timestamp": timestamp,
            "anonymousId": anonymous_id,
            "integrations": integrations,
            "messageId": message_id,
        }
        return self.enqueue(made, ordering_key)

    def page(  # noqa: PLR0917 - Segment's SDK takes them by position
        self,
        user_id: str | None = None,
        category: str | None = None,
        name: str | None = None,
        properties: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: str | None = None,
        integrations: Object = None,
        message_id: str | None = None,
        *,
        ordering_key: str | None = None,
    ) -> R:
        """Say which web page someone saw."""
        event = {
            "type": "page",
            "userId": user_id,
            "category": category,
            "name": name,
            "properties": properties,
            "context": context,
            "timestamp": timestamp,
            "anonymousId": anonymous_id,
            "integrations": integrations,
            "messageId": message_id,
        }
        return self.enqueue(event, ordering_key)

    def screen(  # noqa: PLR0917 - Segment's SDK takes them by position
        self,
        user_id: str | None = None,
        category: str | None = None,
        name: str | None = None,
        properties: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: str | None = None,
        integrations: Object = None,
        message_id: str | None = None,
        *,
        ordering_key: str | None = None,
    ) -> R:
        """Say which screen of an app someone saw."""
        event = {
            "type": "screen",
            "userId": user_id,
            "category": category,
            "name": name,
            "properties": properties,
            "context": context,
            "timestamp": timestamp,
            "anonymousId": anonymous_id,
            "integrations": integrations,
            "messageId": message_id,
        }
        return self.enqueue(event, ordering_key)

    def group(  # noqa: PLR0917 - Segment's SDK takes them by position
        self,
        user_id: str | None = None,
        group_id: str | None = None,
        traits: Object = None,
        context: Object = None,
        timestamp: Moment = None,
        anonymous_id: str | None = None,
        integrations: Object = None,
        message_id: str | None = None,
        *,
        ordering_key: str | None = None,
    ) -> R:
        """Say which group someone belongs to."""
        event = {
            "type": "group",
            "userId": user_id,
            "groupId": group_id,
            "traits": traits,
            "context": context,
            "timestamp": timestamp,
            "anonymousId": anonymous_id,
            "integrations": integrations,
            "messageId": message_id,
        }
        return self.enqueue(event, ordering_key)

    def alias(  # noqa: PLR0917 - Segment's SDK takes them by position
        self,
        previous_id: str | None = None,
        user_id: str | None = None,
        context: Object = None,
        timestamp: Moment = None,
        integrations: Object = None,
        message_id: str | None = None,
        *,
        anonymous_id: str | None = None,
        ordering_key: str | None = None,
    ) -> R:
        """Say under which other id someone was known."""
        event = {
            "type": "alias",
            "previousId": previous_id,
            "userId": user_id,
            "context": context,
            "timestamp": timestamp,
            "integrations": integrations,
            "messageId": message_id,
            "anonymousId": anonymous_id,
        }
        return self.enqueue(event, ordering_key)
