/**
 * Matches of runtime rules: exactly one of ten kinds per rule. Within a kind, different properties
 * (addresses and ports) must match together; alternatives of one property (paths, directories,
 * suffixes) match separately.
 *
 * Limits: paths of 64 components of 255 bytes, as the kernel resolves them, and lists that keep a
 * policy below 512 KiB of JSON.
 */
import { BlockList, isIP } from 'node:net';
import {
  CAPABILITIES,
  EXECUTE_OPERATIONS,
  FILE_OPERATIONS,
  KERNEL_OPERATIONS,
  MOUNT_OPERATIONS,
  NETWORK_OPERATIONS,
  PROTOCOL_NAMES,
  SOCKET_FAMILIES,
  SOCKET_TYPES,
  UNIX_OPERATIONS,
} from '@bailiff/vocabulary';
import * as z from 'zod';
import { cidr as anyCidr, issue, whole } from './units.ts';

/**
 * Components of a path that the kernel programs resolve. A longer path can never match, so it is
 * refused.
 */
export const MAX_PATH_COMPONENTS = 64;
/** NAME_MAX */
const MAX_NAME_BYTES = 255;
const MAX_PATHS = 256;
/** A 64-bit word has one bit per length. */
const MAX_SUFFIX_BYTES = 63;
/** sun_path without the leading NUL. */
const MAX_ABSTRACT_BYTES = 107;

const bytes = (text: string): number => Buffer.byteLength(text);

/** Why a text is not a path that the kernel can produce. Null if it is one. */
export function pathProblem(text: string): string | null {
  if (!text.startsWith('/')) return 'must start with "/"';
  if (text.includes('\0')) return 'contains a NUL';
  if (text === '/') return null;
  const parts = text.slice(1).split('/');
  if (parts.some((part) => part === '')) return 'has an empty component ("//" or a "/" at its end)';
  if (parts.some((part) => part === '.' || part === '..'))
    return 'has "." or "..": write the path as the kernel knows it';
  if (/[*?]|\[.*\]/.test(text)) return 'contains a wildcard: name directories (with recursive) or suffixes instead';
  if (parts.length > MAX_PATH_COMPONENTS) return `has more than ${MAX_PATH_COMPONENTS} components`;
  if (parts.some((part) => bytes(part) > MAX_NAME_BYTES)) return `has a component of more than ${MAX_NAME_BYTES} bytes`;
  return null;
}

/**
 * A component that is neither `.` nor `..`, without wildcards, in a syntax that RE2 supports too.
 */
const COMPONENT = String.raw`([^./*?][^/*?]*|\.[^./*?][^/*?]*|\.\.[^/*?]+)`;
const pathPattern = (slash: '' | '/?') => `^(/|(/${COMPONENT}){1,${MAX_PATH_COMPONENTS}}${slash})$`;

const pathLike = (strip: boolean) =>
  z
    .string()
    .superRefine((text, ctx) => {
      const problem = pathProblem(strip ? stripSlash(text) : text);
      if (problem !== null) issue(ctx, [], `"${text.slice(0, 256)}" ${problem}`);
    })
    .meta({ pattern: pathPattern(strip ? '/?' : ''), maxLength: MAX_PATH_COMPONENTS * (MAX_NAME_BYTES + 1) + 1 });

/** Accepts `/etc/` for `/etc`: directories may be written with a slash. */
export function stripSlash(text: string): string {
  return text.length > 1 && text.endsWith('/') ? text.slice(0, -1) : text;
}

/** An absolute path of a file inside the container. */
export const containerPath = pathLike(false);
const directoryPath = pathLike(true);

const suffix = z
  .string()
  .superRefine((text, ctx) => {
    if (text === '' || bytes(text) > MAX_SUFFIX_BYTES) issue(ctx, [], `must be 1 to ${MAX_SUFFIX_BYTES} bytes`);
    if (/[/*?\0]/.test(text)) issue(ctx, [], 'is the end of a file name, such as ".so": no "/" and no wildcard');
  })
  .meta({ pattern: '^[^/*?]+$', maxLength: MAX_SUFFIX_BYTES });

/** A list of unique items. */
function listOf<T extends z.ZodType>(item: T, max: number) {
  return z
    .array(item)
    .min(1)
    .max(max)
    .superRefine((list, ctx) => {
      list.forEach((entry, index) => {
        const text = JSON.stringify(entry);
        if (list.findIndex((other) => JSON.stringify(other) === text) !== index)
          issue(ctx, [index], `${text} is named twice`);
      });
    })
    .meta({ uniqueItems: true });
}
const words = <T extends readonly [string, ...string[]]>(list: T) => listOf(z.enum(list), list.length);

const where = {
  paths: listOf(containerPath, MAX_PATHS).optional().describe('exactly these files, absolute inside the container'),
  directories: listOf(directoryPath, MAX_PATHS).optional().describe('these directories and their entries'),
  recursive: z.boolean().optional().describe('for directories: at any depth'),
  suffixes: listOf(suffix, 32).optional().describe('files whose name ends so, such as ".so"; 1 to 63 bytes'),
};
/** Fields of which at least one is required. */
const SUBJECTS = ['paths', 'directories', 'suffixes', 'abstract', 'anonymous'];

function checkWhere(match: Readonly<Record<string, unknown>>, ctx: z.core.$RefinementCtx): void {
  if (!SUBJECTS.some((field) => match[field] !== undefined && match[field] !== false))
    issue(ctx, ['paths'], 'is missing: name paths, directories or suffixes');
  if (match.recursive !== undefined && match.directories === undefined)
    issue(ctx, ['recursive'], 'applies to directories, and none is named');
}

export const fileMatch = z
  .strictObject({
    ...where,
    operations: words(FILE_OPERATIONS).optional().describe('absent: all of them'),
    readOnly: z
      .boolean()
      .optional()
      .describe('replaces operations. allow: only reading; audit, block, kill: all but reading'),
  })
  .superRefine((match, ctx) => {
    checkWhere(match, ctx);
    if (match.operations !== undefined && match.readOnly !== undefined)
      issue(ctx, ['readOnly'], 'replaces operations; use one of them');
  });
export type FileMatch = z.infer<typeof fileMatch>;

export const executeMatch = z
  .strictObject({
    ...where,
    anonymous: z.boolean().optional().describe('files without a path in the container: memfd, detached mounts'),
    operations: words(EXECUTE_OPERATIONS)
      .optional()
      .describe('execute: run as a program or interpreter; map: mapped executable, as libraries are; absent: both'),
  })
  .superRefine(checkWhere);
export type ExecuteMatch = z.infer<typeof executeMatch>;

export const driftMatch = z.strictObject({
  allowVolumes: z
    .boolean()
    .default(false)
    .describe("true: files on mounts that are neither the container's root nor tmpfs are not drift"),
  onlyMemory: z
    .boolean()
    .optional()
    .describe('true: only files in memory (tmpfs, memfd), deleted files, and mounts of a user namespace are drift'),
});
export type DriftMatch = z.infer<typeof driftMatch>;

const mapped = new BlockList();
mapped.addSubnet('::ffff:0:0', 96, 'ipv6');

/** IPv4 has one spelling: a rule for ::ffff:10.0.0.0/104 would look like a rule for IPv6. */
const cidr = anyCidr.superRefine((text, ctx) => {
  const address = text.slice(0, text.indexOf('/'));
  if (address.includes('%')) issue(ctx, [], 'has a zone, which the kernel does not compare');
  else if (isIP(address) === 6 && mapped.check(address, 'ipv6')) issue(ctx, [], 'is IPv4 in IPv6: write it as IPv4');
});

const portNumber = whole(0, 65535);
/** `443` or `"8000-8999"` */
export const portRange = z.union(
  [
    portNumber,
    z
      .string()
      .max(11)
      .regex(/^\d{1,5}-\d{1,5}$/, { error: 'must be a range such as "8000-8999"' }),
  ],
  { error: 'must be a port from 0 to 65535, or a range such as "8000-8999"' },
);

/** First and last port. Null if the range is invalid or reversed. */
export function parsePorts(range: number | string): { first: number; last: number } | null {
  const [first, last = first] = String(range).split('-').map(Number) as [number, number?];
  return first! <= last! && last! <= 65535 ? { first: first!, last: last! } : null;
}

export const networkMatch = z
  .strictObject({
    operations: words(NETWORK_OPERATIONS).optional().describe('absent: all of them'),
    cidrs: listOf(cidr, 256).optional().describe('absent: every address of both families'),
    except: listOf(cidr, 256).optional().describe('excluded from cidrs, or from all addresses'),
    ports: listOf(portRange, 8)
      .optional()
      .describe('such as 443 or "8000-8999": the peer port for connect and send, the local port for bind and listen'),
    protocols: listOf(
      z.union([z.enum(PROTOCOL_NAMES), whole(1, 255)], {
        error: `must be one of ${PROTOCOL_NAMES.join(', ')}, or a protocol number from 1 to 255`,
      }),
      8,
    )
      .optional()
      .describe('transport protocols, by name or number; absent: any'),
  })
  .superRefine((match, ctx) => {
    match.ports?.forEach((range, index) => {
      if (parsePorts(range) === null) issue(ctx, ['ports', index], `"${range}" runs backwards or beyond 65535`);
    });
  });
export type NetworkMatch = z.infer<typeof networkMatch>;

const numberOr = <T extends readonly [string, ...string[]]>(list: T, max: number) =>
  z.union([z.enum(list), whole(0, max)], {
    error: `must be one of ${list.join(', ')}, or a number from 0 to ${max}`,
  });

export const socketMatch = z
  .strictObject({
    families: listOf(numberOr(SOCKET_FAMILIES, 255), 16)
      .optional()
      .describe('names of AF_ constants in lower case, or numbers; absent: any'),
    types: words(SOCKET_TYPES).optional().describe('absent: any'),
    protocols: listOf(numberOr(PROTOCOL_NAMES, 65534), 16)
      .optional()
      .describe('by name or number, within the families; absent: any'),
  })
  .superRefine((match, ctx) => {
    if (match.protocols !== undefined && match.families === undefined)
      issue(ctx, ['families'], 'a protocol means something only within a family');
  });
export type SocketMatch = z.infer<typeof socketMatch>;

export const unixMatch = z
  .strictObject({
    /**
     * Paths are those that the listening side bound. A socket of the host keeps its path, wherever
     * it is mounted.
     */
    ...where,
    abstract: listOf(
      z
        .string()
        .min(1)
        .refine((text) => bytes(text) <= MAX_ABSTRACT_BYTES, { error: `must be 1 to ${MAX_ABSTRACT_BYTES} bytes` })
        .refine((text) => !text.startsWith('@'), { error: 'is written without the "@"' })
        .meta({ pattern: '^[^@]', maxLength: MAX_ABSTRACT_BYTES }),
      64,
    )
      .optional()
      .describe('names in the abstract namespace, without the leading NUL or "@"; 1 to 107 bytes'),
    operations: words(UNIX_OPERATIONS).optional().describe('absent: all of them'),
  })
  .superRefine(checkWhere);
export type UnixMatch = z.infer<typeof unixMatch>;

export const capabilitiesMatch = listOf(
  z.enum(CAPABILITIES, { error: 'must be a capability in lower case without "CAP_", such as "net_raw"' }),
  CAPABILITIES.length,
);
export const mountMatch = z.strictObject({
  operations: words(MOUNT_OPERATIONS).optional().describe('absent: all of them'),
});
export const kernelMatch = z.strictObject({ operations: words(KERNEL_OPERATIONS).describe('which of them') });
