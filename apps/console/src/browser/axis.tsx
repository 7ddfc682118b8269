/**
 * Items of a pod on one time axis, by lane. Zoom with the buttons, the keys + and -, or a selection with the
 * mouse; move with the arrow keys. The table below has the same items as text.
 */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { TimelineItemView } from '../wire.ts';

export interface Range {
  from: number;
  to: number;
}

const LANE_HEIGHT = 34;
const LABEL = 84;
const AXIS = 24;
/** Microseconds. */
const LEAST_RANGE = 1_000;

export function rangeOf(items: readonly TimelineItemView[]): Range {
  const times = items.flatMap(({ atMicros, untilMicros }) => [atMicros, untilMicros]);
  return padded({ from: Math.min(...times), to: Math.max(...times) });
}

function padded({ from, to }: Range): Range {
  const pad = Math.max((to - from) * 0.04, LEAST_RANGE);
  return { from: from - pad, to: to + pad };
}

/** From the first violation to the last item that is not a change of the configuration. */
export function attackRange(items: readonly TimelineItemView[]): Range | null {
  const first = items.find(({ lane }) => lane === 'violations');
  if (!first) return null;
  return rangeOf(items.filter(({ atMicros, lane }) => atMicros >= first.atMicros && lane !== 'config'));
}

/** The part of the range around its centre, or beside it. */
export function moved({ from, to }: Range, factor: number, shift = 0): Range {
  const half = Math.max(((to - from) * factor) / 2, LEAST_RANGE / 2);
  const centre = (from + to) / 2 + shift * (to - from);
  return { from: centre - half, to: centre + half };
}

/** A time with as many digits as the range needs. */
function label(micros: number, { from, to }: Range): string {
  const iso = new Date(micros / 1000).toISOString();
  const span = to - from;
  if (span > 172_800e6) return iso.slice(5, 16).replace('T', ' ');
  if (span > 600e6) return iso.slice(11, 16);
  if (span > 10e6) return iso.slice(11, 19);
  return iso.slice(11, 23);
}

function Marks({
  items,
  lane,
  x,
  y,
}: {
  items: readonly TimelineItemView[];
  lane: string;
  x: (at: number) => number;
  y: number;
}) {
  return (
    <>
      {items
        .filter((item) => item.lane === lane)
        .map(({ atMicros, untilMicros, what, detail, tone, weight, place, at }, index) => {
          const [left, right] = [x(atMicros), x(untilMicros)];
          const radius = lane === 'violations' ? Math.min(12, 4 + Math.log10(weight) * 2) : 5;
          return (
            <g key={`${place} ${index}`} class={`mark ${tone}`}>
              <title>{`${at} ${what}: ${detail}`}</title>
              {right - left > 2 && <rect x={left} y={y - 3} width={right - left} height={6} />}
              <circle cx={left} cy={y} r={radius} />
            </g>
          );
        })}
    </>
  );
}

export interface AxisProps {
  items: readonly TimelineItemView[];
  lanes: readonly string[];
  range: Range;
  onRange: (range: Range) => void;
}

export function TimeAxis({ items, lanes, range, onRange }: AxisProps) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(800);
  const [drag, setDrag] = useState<[number, number] | null>(null);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.max(200, entry?.contentRect.width ?? 800)));
    observer.observe(box.current as HTMLDivElement);
    return () => observer.disconnect();
  }, []);
  const room = width - LABEL - 12;
  const x = (at: number) => LABEL + ((at - range.from) / (range.to - range.from)) * room;
  const timeAt = (px: number) => range.from + ((px - LABEL) / room) * (range.to - range.from);
  const height = lanes.length * LANE_HEIGHT + AXIS;
  const ticks = Array.from(
    { length: Math.max(2, Math.floor(room / 150)) + 1 },
    (_, n, all = Math.max(2, Math.floor(room / 150))) => range.from + ((range.to - range.from) * n) / all,
  );
  const inRange = items.filter(({ atMicros, untilMicros }) => untilMicros >= range.from && atMicros <= range.to);
  const place = (event: PointerEvent) => event.clientX - (box.current as HTMLDivElement).getBoundingClientRect().left;
  const release = () => {
    if (drag && Math.abs(drag[1] - drag[0]) > 8) {
      const [from = 0, to = 0] = drag.map(timeAt).sort((a, b) => a - b);
      if (to - from >= LEAST_RANGE) onRange({ from, to });
    }
    setDrag(null);
  };
  return (
    <div
      class="axis"
      ref={box}
      onPointerDown={(event) => setDrag([place(event), place(event)])}
      onPointerMove={(event) => drag && setDrag([drag[0], place(event)])}
      onPointerUp={release}
      onPointerLeave={release}
    >
      <svg width={width} height={height} role="img" aria-label={`${inRange.length} of ${items.length} items, by lane`}>
        {lanes.map((lane, index) => {
          const y = index * LANE_HEIGHT + LANE_HEIGHT / 2;
          return (
            <g key={lane}>
              <line class="lane" x1={LABEL} x2={width} y1={y} y2={y} />
              <text class="label" x={0} y={y + 4}>
                {lane}
              </text>
              <Marks items={inRange} lane={lane} x={x} y={y} />
            </g>
          );
        })}
        {ticks.map((tick, index) => (
          <text
            key={tick}
            class="tick"
            x={x(tick)}
            y={height - 6}
            text-anchor={index === 0 ? 'start' : index === ticks.length - 1 ? 'end' : 'middle'}
          >
            {label(tick, range)}
          </text>
        ))}
        {drag && (
          <rect
            class="selection"
            x={Math.min(...drag)}
            y={0}
            width={Math.abs(drag[1] - drag[0])}
            height={height - AXIS}
          />
        )}
      </svg>
    </div>
  );
}
