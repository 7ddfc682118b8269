/**
 * Units in the configuration: durations (`250ms`, `30s`, `10m`, `1h`, `7d`), CIDRs and Kubernetes
 * names. A number without a unit is refused, because a wrong unit is a common mistake.
 */
import { isIP } from 'node:net';
import * as z from 'zod';

/** Refuses a value in a refinement. @param path of the field at fault, below the refined value */
export const issue = (ctx: z.core.$RefinementCtx, path: (string | number)[], message: string): void =>
  ctx.addIssue({ code: 'custom', path, message });

/** A whole number. */
export const whole = (min: number, max: number) => z.number().int().min(min).max(max);
/** At least one; absent: any. */
export const someOf = <S extends z.ZodType>(item: S, max = 64) => z.array(item).min(1).max(max).optional();

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** Longest duration in any field: an upper limit of how long VIOLATIONS keeps messages. */
export const MAX_DURATION_MS = 90 * 86_400_000;

/** Milliseconds of a duration such as `30s`. Null if it is not a duration. */
export function parseDurationMs(text: string): number | null {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  if (!match) return null;
  return Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

/**
 * A duration with its unit, kept as text. Limits in milliseconds, which JSON Schema has as
 * `durationMs`.
 */
export function duration(minMs: number, maxMs: number = MAX_DURATION_MS) {
  return z
    .string({ error: 'must be a duration with a unit, such as "30s" or "10m"' })
    .superRefine((text, ctx) => {
      const ms = parseDurationMs(text);
      if (ms === null) {
        issue(ctx, [], `"${text}" is not a duration: write a number and ms, s, m, h or d`);
      } else if (ms < minMs || ms > maxMs) {
        issue(ctx, [], `"${text}" is outside ${minMs} ms to ${maxMs} ms`);
      }
    })
    .meta({ pattern: '^[0-9]{1,9}(ms|s|m|h|d)$', maxLength: 11, durationMs: { min: minMs, max: maxMs } });
}

/** True for `address/length` of either family with a valid length. */
export function isCidr(text: string): boolean {
  const [address, length, ...rest] = text.split('/');
  if (address === undefined || length === undefined || rest.length > 0) return false;
  if (address.includes('%') || !/^(0|[1-9]\d{0,2})$/.test(length)) return false;
  const family = isIP(address);
  return family !== 0 && Number(length) <= (family === 4 ? 32 : 128);
}

export const cidr = z
  .string()
  .refine(isCidr, { error: 'must be a CIDR, such as "10.0.0.0/8" or "fd00::/64"' })
  .meta({ format: 'cidr', maxLength: 49 });

/** A whole MAC or its first bytes, at least those of a vendor. The group bit is not set. */
export const macPrefix = z
  .string()
  .regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){2,5}$/, {
    error: 'must be a MAC or its first three to five bytes, in lower case, such as "52:54:00"',
  })
  .max(17);

/**
 * Highest revision of a value: above milliseconds of any year, and far below 2^53. The next writer
 * begins again, so that a client that stores it does not freeze the key.
 */
export const MAX_REVISION = 1e15;

/** Number of every value, for people and writers. Readers follow the order of the bus. */
export const revision = z
  .number()
  .int()
  .nonnegative()
  .max(MAX_REVISION)
  .default(0)
  .describe('grows with every write; a command that writes a lower revision than the stored one is refused; omit it');

/** A Kubernetes object name (RFC 1123 subdomain). */
export const kubeName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, {
    error: 'must be a Kubernetes name: lower case letters, digits, "-" and "."',
  });

/** Key of a Kubernetes label, with an optional prefix. */
export const labelKey = z
  .string()
  .max(317)
  .regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/, {
    error: 'must be a label key, such as "app" or "example.org/tier"',
  });
export const labelValue = z
  .string()
  .max(63)
  .regex(/^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/, {
    error: 'must be a label value',
  });

/** Maximum number of labels in a selector. */
export const MAX_LABELS = 64;
export const labels = () =>
  z
    .record(labelKey, labelValue)
    .refine((all) => Object.keys(all).length <= MAX_LABELS, { error: `at most ${MAX_LABELS} labels` })
    .meta({ maxProperties: MAX_LABELS });
