/**
 * What runtime policies cost an open, an exec and a connect, in instructions: by the number of rules, beside a kernel without the
 * programs, and beside one with empty programs at the same hooks, which is the part that no program can do anything about.
 */
import { type CostPlan, type CostReport, OPERATIONS, type Operation, type Where } from './lsm/cost.ts';
import { inside } from './lsm/machine.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const RULES = [1, 10, 100, 1000];
const PLAN: CostPlan = {
  where: ['no programs', 'empty programs', 'no pod', 'no policy', ...RULES],
  rounds: 5,
  hookRounds: 5,
  counts: { open: 1000, exec: 40, connect: 1000 },
};
const WORDS: Readonly<Record<string, string>> = {
  'no programs': 'no programs loaded',
  'empty programs': 'empty programs at the same hooks',
  'no pod': 'a container of no pod',
  'no policy': 'a pod without policy',
};
/** The hook that decides about each operation. */
const HOOK: Readonly<Record<Operation, string>> = {
  open: 'file_open',
  exec: 'bprm_check_security',
  connect: 'socket_connect',
};
const MOST_UNPROTECTED = 1.01;
const MOST_AT_100 = 1.03;
/** From 100 to 1,000 rules. A trie of addresses is deeper the more there are in it. */
const MOST_GROWTH = 1.15;

export async function bench(): Promise<Section> {
  return sectionOf(await inside<CostReport>('cost', PLAN, { countInstructions: true }));
}

function sectionOf({ operations, hooks }: CostReport): Section {
  const whole = (where: Where, operation: Operation) =>
    median(operations.find((one) => one.where === where && one.operation === operation)?.ns ?? []);
  const ratio = (where: Where, operation: Operation) => whole(where, operation) / whole('no programs', operation);
  const more = (where: Where, operation: Operation) => fixed((ratio(where, operation) - 1) * 100);
  const hook = (where: Where, operation: Operation) =>
    hooks.find((one) => one.where === where && one.operation === operation)?.hooks[HOOK[operation]]?.ns ?? Number.NaN;
  const rows = PLAN.where.map((where) => [
    WORDS[where] ?? `${where} ${where === 1 ? 'rule' : 'rules'}`,
    ...OPERATIONS.map((operation) => `${thousands(whole(where, operation))} (${fixed(ratio(where, operation), 3)})`),
    ...OPERATIONS.map((operation) => (where === 'no programs' ? '' : thousands(hook(where, operation)))),
  ]);
  const budget = (what: string, where: Where, most: number) =>
    (['exec', 'open'] as const).map((operation) => ({
      budget: `${operation}, ${what}: at most ${fixed((most - 1) * 100, 0)} % more`,
      measured: `${more(where, operation)} %, of which empty programs ${more('empty programs', operation)} %`,
      met: ratio(where, operation) <= most,
    }));
  const growth = OPERATIONS.map((operation) => hook(1000, operation) / hook(100, operation));
  return {
    title: 'Cost of runtime policies',
    method:
      'A virtual machine with Debian’s kernel whose clock is its count of instructions (qemu’s `-icount`), one boot. Medians of 5 rounds of 1 000 opens of a file of the image and connects of a UDP socket, and 40 times vfork, exec and exit of a static program; in brackets the ratio to the same without programs. Empty programs at the same hooks show what the kernel’s own way to a program takes, which is in every row below them. Then what the kernel’s accounting says of the hook that decides. “n rules”: n about files, n about programs and n about addresses. Instructions of such a machine repeat to a tenth of a per cent, real time does not; test/vm/cost.test.ts holds the hooks to bounds.',
    header: ['in', ...OPERATIONS.map((operation) => operation), ...OPERATIONS.map((operation) => HOOK[operation])],
    rows,
    budgets: [
      ...budget('a pod without policy', 'no policy', MOST_UNPROTECTED),
      ...budget('100 rules', 100, MOST_AT_100),
      {
        budget: `a hook costs at most ${fixed((MOST_GROWTH - 1) * 100, 0)} % more under 1 000 rules than under 100`,
        measured: OPERATIONS.map((operation, i) => `${operation} ${fixed(((growth[i] as number) - 1) * 100)} %`).join(
          ', ',
        ),
        met: growth.every((one) => one <= MOST_GROWTH),
      },
    ],
  };
}
