/**
 * Which pods, nodes and kinds an argument means. Pure. A pod is said as a name, `namespace/name`, or its uid; a name alone means every pod
 * of that name, in whatever namespace.
 */
import { CliError } from './errors.ts';

export interface PodSelector {
  /** As it was said. */
  text: string;
  namespace: string | null;
  name: string | null;
  uid: string | null;
}

const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** @throws CliError CLI_USAGE */
export function parseName(text: string, flag: string): string {
  if (NAME.test(text) && text.length <= 253) return text;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a Kubernetes name`, {
    remedy: 'lower case letters, digits, "-" and "."',
  });
}

/** @throws CliError CLI_USAGE */
export function parsePod(text: string, flag: string, namespace?: string): PodSelector {
  const within = namespace === undefined ? null : parseName(namespace, '--namespace');
  if (UID.test(text)) return { text, namespace: within, name: null, uid: text };
  const [first = '', second, ...rest] = text.split('/');
  if (rest.length > 0) {
    throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a pod`, {
      remedy: 'write a name, namespace/name, or a uid',
    });
  }
  if (second === undefined) return { text, namespace: within, name: parseName(first, flag), uid: null };
  if (within !== null && within !== first) {
    throw new CliError('CLI_USAGE', `${flag} ${text} and --namespace ${within} exclude each other`);
  }
  return { text, namespace: parseName(first, flag), name: parseName(second, flag), uid: null };
}

export interface PodLike {
  namespace: string;
  name: string;
  uid: string;
}

/** Whether a pod is one of those meant. */
export function isMeant(selector: PodSelector, pod: PodLike | null): boolean {
  if (!pod) return false;
  if (selector.namespace !== null && pod.namespace !== selector.namespace) return false;
  if (selector.uid !== null) return pod.uid === selector.uid;
  return selector.name === null || pod.name === selector.name;
}

/** The parts that a subject filter can hold. */
export function subjectParts(selector: PodSelector | null, namespace?: string): { namespace?: string; pod?: string } {
  const within = selector?.namespace ?? namespace;
  return {
    ...(within ? { namespace: within } : {}),
    ...(selector?.name ? { pod: selector.name } : {}),
  };
}

/** `shop/web-0`, or a dash. */
export function podName(pod: { namespace: string; name: string } | null): string {
  return pod && pod.name !== '' ? `${pod.namespace}/${pod.name}` : '-';
}

/** One of a list, or a usage error that names them. @throws CliError CLI_USAGE */
export function oneOf<T extends string>(text: string, allowed: readonly T[], flag: string): T {
  if ((allowed as readonly string[]).includes(text)) return text as T;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is none of ${allowed.join(', ')}`);
}

/** A whole number within bounds. @throws CliError CLI_USAGE */
export function wholeNumber(text: string, flag: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a whole number from ${min} to ${max}`);
}

/** Beginning of the id of a verdict or response. @throws CliError CLI_USAGE */
export function parseIdPrefix(text: string, flag: string): string {
  if (/^[0-9a-f]{4,32}$/.test(text)) return text;
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not an id`, {
    remedy: 'an id is 32 hexadecimal digits; its first four or more are enough',
  });
}
