"""What a mapping counts, and what each count costs: the one formula of time.

    time of a batch = writes * write latency + reads * (MVM latency) + rounds * (conversion latency)
                      + operations * (digital operation latency)

Tiles that hold weights are written once for all samples of a batch; tiles that hold activations are written for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Generic

from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.adc_resolution import conversion_latency_ps
from mho.mapping.slicing import Count


@dataclass(frozen=True)
class EventCounts(Generic[Count]):
    """What a layer takes for one sample; numbers, or int64 arrays of one shape.

    Attributes:
        tiles: crossbar writes (once for a batch, unless an activation is stored).
        mvms: crossbar reads, one an input slice.
        conversions: rounds of conversion: for each read the most sums that one ADC converts.
        operations: additions and multiply-adds of the digital unit: one for every sum that a read converts (shift and
            add), the sums of input vectors that an encoding needs, and products that do not run in crossbars.
    """

    tiles: Count
    mvms: Count
    conversions: Count
    operations: Count

    def __add__(self, other: EventCounts[Count]) -> EventCounts[Count]:
        return EventCounts(
            self.tiles + other.tiles,
            self.mvms + other.mvms,
            self.conversions + other.conversions,
            self.operations + other.operations,
        )


@dataclass(frozen=True)
class UnitTimes:
    """What each count costs on an accelerator in one encoding, ps, for a batch of samples that share writes."""

    write_ps: int
    mvm_ps: int
    conversion_ps: int
    operation_ps: int
    batch: int = 1

    @classmethod
    def of(cls, accelerator: Accelerator, encoding: Encoding, batch: int = 1) -> UnitTimes:
        """Return the prices of an accelerator; an ideal ADC's bits, and so its time, depend on the encoding."""
        return cls(
            write_ps=accelerator.write_latency_ps,
            mvm_ps=accelerator.mvm_latency_ps,
            conversion_ps=conversion_latency_ps(accelerator, encoding),
            operation_ps=accelerator.digital.operation_latency_ps,
            batch=batch,
        )

    @classmethod
    def by_encoding(cls, accelerator: Accelerator, batch: int = 1) -> dict[Encoding, UnitTimes]:
        """Return the prices in each encoding that is allowed; they differ by conversion alone."""
        encodings = accelerator.mapping.allowed.encodings
        own = cls.of(accelerator, encodings[0], batch)
        return {one: replace(own, conversion_ps=conversion_latency_ps(accelerator, one)) for one in encodings}

    @property
    def unit_ps(self) -> int:
        """The greatest common unit of the prices, ps."""
        return math.gcd(self.write_ps, self.mvm_ps, self.conversion_ps, self.operation_ps)

    def in_units(self, unit_ps: int) -> UnitTimes:
        """Return the prices in a unit that divides all of them: smaller numbers for long searches."""
        own = (self.write_ps, self.mvm_ps, self.conversion_ps, self.operation_ps)
        write, mvm, conversion, operation = (price // unit_ps for price in own)
        return UnitTimes(write, mvm, conversion, operation, self.batch)

    def writing_ps(self, counts: EventCounts[Count], *, is_stored_dynamically: bool) -> Count:
        """Return the time of all writes of a batch."""
        return counts.tiles * (self.write_ps * (self.batch if is_stored_dynamically else 1))

    def reading_ps(self, counts: EventCounts[Count]) -> Count:
        """Return the time of all reads and digital work of a batch."""
        reads = counts.mvms * self.mvm_ps + counts.conversions * self.conversion_ps
        return (reads + counts.operations * self.operation_ps) * self.batch

    def time_ps(self, counts: EventCounts[Count], *, is_stored_dynamically: bool) -> Count:
        """Return the time of a batch."""
        return self.writing_ps(counts, is_stored_dynamically=is_stored_dynamically) + self.reading_ps(counts)
