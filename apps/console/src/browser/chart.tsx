/** Violations of the last hour as stacked bars, one a minute. The legend has the same numbers as text. */
import type { RatesView } from '../wire.ts';

const WIDTH = 600;
const HEIGHT = 120;

const clock = (ms: number): string => new Date(ms).toISOString().slice(11, 16);

export function RatesChart({ rates }: { rates: RatesView }) {
  const { series, fromMs, stepMs, total, otherTotal } = rates;
  const steps = series[0]?.counts.length ?? 0;
  const sums = Array.from({ length: steps }, (_, step) =>
    series.reduce((sum, { counts }) => sum + (counts[step] ?? 0), 0),
  );
  const most = Math.max(1, ...sums);
  if (total === 0) return <p class="empty">No violation within the last hour.</p>;
  const width = WIDTH / steps;
  const heightOf = (count: number) => (count / most) * HEIGHT;
  const label = `Violations by minute and vector: ${total} in all, at most ${most} within a minute`;
  return (
    <figure class="rates">
      <div class="plot">
        <span class="most">{most} / min</span>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
          {sums.map((_, step) => {
            let base = HEIGHT;
            return (
              <g key={step}>
                {series.map(({ name, action, counts }, index) => {
                  const height = heightOf(counts[step] ?? 0);
                  base -= height;
                  return height === 0 ? null : (
                    <rect
                      key={`${name} ${action}`}
                      class={`series${index}`}
                      x={step * width + 0.5}
                      y={base}
                      width={width - 1}
                      height={height}
                    />
                  );
                })}
              </g>
            );
          })}
        </svg>
        <div class="times">
          <span>{clock(fromMs)} UTC</span>
          <span>{clock(fromMs + (steps / 2) * stepMs)}</span>
          <span>now</span>
        </div>
      </div>
      <ul class="legend">
        {series.map(({ name, action, total: count }, index) => (
          <li key={`${name} ${action}`}>
            <svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">
              <rect class={`series${index}`} width="10" height="10" />
            </svg>
            <span>
              {name} <span class={action === 'audit' ? 'yellow' : 'red'}>{action}</span>
            </span>
            <b>{count}</b>
          </li>
        ))}
        {otherTotal > 0 && (
          <li>
            <span class="swatch" />
            <span>further vectors</span>
            <b>{otherTotal}</b>
          </li>
        )}
      </ul>
    </figure>
  );
}
