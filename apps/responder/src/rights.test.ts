import { type KubeApi, KubeError, type RequestOptions } from '@bailiff/kube';
import { kubeApiOf } from '@bailiff/kube/testing';
import { type ResponsePolicy, responsePolicy } from '@bailiff/policy';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { RightsCheck, TICK_MS } from './rights.ts';

const policy = (part: object): ResponsePolicy =>
  responsePolicy.parse({
    revision: 1,
    match: {},
    steps: [{ action: 'label', expires: '1h' }, { action: 'delete' }],
    ...part,
  });

/** An API server that permits everything but these. */
function server(denied: readonly string[], failure: KubeError | null = null) {
  const asked: string[] = [];
  const request = async ({ body }: RequestOptions) => {
    if (failure) throw failure;
    const { verb, resource, subresource } = (body as { spec: { resourceAttributes: Record<string, string> } }).spec
      .resourceAttributes;
    const right = `${verb} ${resource}${subresource ? `/${subresource}` : ''}`;
    asked.push(right);
    return { status: { allowed: !denied.includes(right) } };
  };
  return { asked, client: kubeApiOf(request) };
}

async function checked(client: KubeApi, policies: readonly ResponsePolicy[], dryRun = false) {
  const errors: string[] = [];
  let changes = 0;
  const check = new RightsCheck({
    client,
    policies: () => policies,
    dryRun,
    onChange: () => {
      changes += 1;
    },
    onError: ({ code }) => errors.push(code),
    signal: new AbortController().signal,
  });
  await Promise.all([check.check(), check.check()]);
  return { missing: check.missing, errors, changes };
}

/** A check for a policy that acts. */
const acting = (client: KubeApi): RightsCheck =>
  new RightsCheck({
    client,
    policies: () => [policy({ dryRun: false })],
    dryRun: false,
    onChange: () => {},
    onError: () => {},
    signal: new AbortController().signal,
  });

it('a policy that acts without a right - the right is missing, once', async () => {
  const { client, asked } = server(['delete pods', 'create pods/eviction']);
  expect(await checked(client, [policy({ dryRun: false })])).toEqual({
    missing: ['delete pods'],
    errors: [],
    changes: 1,
  });
  expect(asked).toContain('create networkpolicies');
});

it.each([
  ['KUBE_UNAUTHORIZED', 'the API server refuses the credential: 401'],
  ['KUBE_TIMEOUT', 'the API server cannot be reached: 401'],
  // Reviews are refused, or throttled; responses may not be.
  ['KUBE_FORBIDDEN', ''],
  ['KUBE_TOO_MANY_REQUESTS', ''],
] as const)('%s - is a problem until a check gets a response', async (code, expected) => {
  let failure: KubeError | null = new KubeError(code, '401');
  const { client } = server([]);
  const failing = kubeApiOf(async (options) => {
    if (failure) throw failure;
    return client.request(options);
  });
  const check = acting(failing);
  await check.check();
  expect(check.problem).toBe(expected);
  failure = null;
  // The next tick repeats a failed check at once.
  check.tick();
  await waitFor(() => check.problem === '', { what: 'the end of the problem' });
});

it.each([
  ['a dry run', [policy({ dryRun: true })], false],
  ['a responder of dry runs', [policy({ dryRun: false })], true],
  ['a policy that is off', [policy({ dryRun: false, enabled: false })], false],
] as const)('control: %s - needs no right to act', async (_, policies, dryRun) => {
  const { client, asked } = server(['delete pods']);
  expect(await checked(client, policies, dryRun)).toEqual({ missing: [], errors: [], changes: 0 });
  expect(asked).not.toContain('delete pods');
});

it('an API server that does not review - nothing is known to be missing', async () => {
  const { client } = server([], new KubeError('KUBE_FORBIDDEN', 'no', { status: 403 }));
  const { missing, errors } = await checked(client, [policy({ dryRun: false })]);
  expect([missing, errors[0]]).toEqual([[], 'KUBE_FORBIDDEN']);
});

it('an API server that stops to respond - is asked again within some ticks, without a change of a policy', async () => {
  const { client, asked } = server([]);
  const check = acting(client);
  await check.check();
  const before = asked.length;
  for (let ticks = 0; ticks < 20_000 / TICK_MS; ticks += 1) {
    expect(asked, 'control: not with every tick').toHaveLength(before);
    check.tick();
  }
  expect(asked.length).toBeGreaterThan(before);
});
