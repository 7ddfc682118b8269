/** One rule of a runtime policy: its action, the programs that it restricts, and exactly one kind of match. */

import { type PostureClass, RUNTIME_ACTIONS } from '@bailiff/vocabulary';
import * as z from 'zod';
import {
  capabilitiesMatch,
  containerPath,
  driftMatch,
  executeMatch,
  fileMatch,
  kernelMatch,
  mountMatch,
  networkMatch,
  socketMatch,
  unixMatch,
} from './runtime-match.ts';
import { kubeName } from './units.ts';

const source = z.strictObject({
  path: containerPath.describe('absolute path of the program inside the container'),
  children: z.boolean().default(false).describe('also what programs it started, at any depth, whatever they are'),
});
export type RuleSource = z.infer<typeof source>;

export const runtimeRule = z.strictObject({
  /** With the policy's name it is the violation's `vector`. */
  name: kubeName.max(63).describe('name of the rule within the policy; violations name it'),
  action: z
    .enum(RUNTIME_ACTIONS)
    .describe(
      'allow satisfies a posture; audit counts and passes; block denies with EPERM; kill denies and sends SIGKILL',
    ),
  description: z.string().max(1024).optional().describe('why the rule is there'),
  fromSource: z.array(source).min(1).max(16).optional().describe('only operations of these programs; absent: of any'),
  file: fileMatch.optional().describe('files read, written, made, removed or changed'),
  execute: executeMatch.optional().describe('files run as programs or mapped executable'),
  drift: driftMatch.optional().describe("files run or mapped executable that the container's image does not hold"),
  network: networkMatch.optional().describe('IPv4 and IPv6 addresses and ports'),
  socket: socketMatch.optional().describe('sockets made, by family, type and protocol'),
  unix: unixMatch.optional().describe('Unix domain sockets, by path or abstract name'),
  capabilities: capabilitiesMatch.optional().describe('capabilities used, in lower case without "CAP_"'),
  mount: mountMatch.optional().describe('mounts made, moved, changed or taken away'),
  kernel: kernelMatch.optional().describe('what reaches beyond the container into the kernel or other processes'),
});
export type RuntimeRule = z.infer<typeof runtimeRule>;

/** What a rule matches, by kind; each rule has exactly one. */
export const RULE_KINDS = [
  'file',
  'execute',
  'drift',
  'network',
  'socket',
  'unix',
  'capabilities',
  'mount',
  'kernel',
] as const;
export type RuleKind = (typeof RULE_KINDS)[number];

/** The class whose posture an allow rule of a kind satisfies; drift has none. */
export const POSTURE_OF: Readonly<Record<RuleKind, PostureClass | null>> = {
  file: 'file',
  unix: 'file',
  execute: 'execute',
  drift: null,
  network: 'network',
  socket: 'network',
  capabilities: 'capability',
  mount: 'kernel',
  kernel: 'kernel',
};

/** The kind of a rule that was parsed; null when none or several are said. */
export function kindOf(rule: RuntimeRule): RuleKind | null {
  const said = RULE_KINDS.filter((kind) => rule[kind] !== undefined);
  return said.length === 1 ? said[0]! : null;
}
