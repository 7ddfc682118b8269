/** Runs in the virtual machine: `inside.ts <what> <plan as JSON>` prints the report as one line of JSON. */
import { type CostPlan, measureCost } from './cost.ts';
import { type LivePlan, measureLive } from './live.ts';

const MEASURES: Readonly<Record<string, (plan: object) => Promise<object>>> = {
  cost: (plan) => measureCost(plan as CostPlan),
  live: (plan) => measureLive(plan as LivePlan),
};

const [what = '', plan = '{}'] = process.argv.slice(2);
const measure = MEASURES[what];
if (!measure) throw new Error(`unknown measurement ${what}: use ${Object.keys(MEASURES).join(', ')}`);
const report = await measure(JSON.parse(plan) as object);
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
