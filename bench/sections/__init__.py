"""What is measured, a section at a time, in the order of the table."""

from collections.abc import Mapping

from bench.section import Section
from bench.sections import arrival, backlog, call, crew, delivery, distance, enqueue, gateway, latency, many, start

SECTIONS: Mapping[str, Section] = {
    "enqueue": enqueue.SECTION,
    "call": call.SECTION,
    "delivery": delivery.SECTION,
    "crew": crew.SECTION,
    "latency": latency.SECTION,
    "arrival": arrival.SECTION,
    "backlog": backlog.SECTION,
    "many": many.SECTION,
    "distance": distance.SECTION,
    "gateway": gateway.SECTION,
    "start": start.SECTION,
}
