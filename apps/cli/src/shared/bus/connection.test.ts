import { describe, expect, it } from 'vitest';
import { type ConnectionSources, contextPath, envNameOf, parseContext, resolveConnection } from './connection.ts';

const lab = (id: string) => ({
  id,
  natsUrl: `nats://lab-${id}`,
  user: 'cli',
  passwordFile: `/run/${id}/cli.password`,
  kubeconfig: '',
  redisUrl: '',
});
const sources = (part: Partial<ConnectionSources> = {}): ConnectionSources => ({
  flags: {},
  env: {},
  lab: undefined,
  context: null,
  labs: [],
  ...part,
});
const context = (value: unknown) => ({
  path: '/home/me/.config/bailiff/context.json',
  text: typeof value === 'string' ? value : JSON.stringify(value),
});

describe('connection', () => {
  it('precedence - flags over environment over context file, field by field', () => {
    const found = resolveConnection(
      sources({
        flags: { natsUrl: 'nats://flag' },
        env: { BAILIFF_NATS_URL: 'nats://env', BAILIFF_NATS_USER: 'reader' },
        context: context({ natsUrl: 'nats://file', natsUser: 'x', natsPasswordFile: 'secret' }),
      }),
    );
    expect(found).toMatchObject({
      natsUrl: 'nats://flag',
      natsUser: 'reader',
      natsPasswordFile: '/home/me/.config/bailiff/secret',
      source: '--nats-url',
      note: '',
    });
  });

  it('source - names what selected the bus', () => {
    const env = { BAILIFF_NATS_URL: 'nats://env' };
    expect(resolveConnection(sources({ env })).source).toBe('BAILIFF_NATS_URL');
    expect(resolveConnection(sources({ context: context({ natsUrl: 'nats://n' }) })).source).toMatch(/context\.json$/);
    expect(resolveConnection(sources({ lab: 'abc', labs: [lab('abc')] })).source).toBe('lab abc');
  });

  it('lab - --lab overrides the environment', () => {
    const env = { BAILIFF_NATS_URL: 'nats://env', BAILIFF_NATS_USER: 'reader' };
    const found = resolveConnection(sources({ lab: 'abc', labs: [lab('abc'), lab('xyz')], env }));
    expect(found).toMatchObject({ natsUrl: 'nats://lab-abc', natsUser: 'cli', note: '' });
    expect(found.lab?.id).toBe('abc');
  });

  it('lab - of several, the lab of KUBECONFIG is used, with a note', () => {
    const labs = [lab('abc'), lab('xyz')].map((one) => ({ ...one, kubeconfig: `/run/${one.id}/admin.kubeconfig` }));
    const env = { KUBECONFIG: '/run/xyz/admin.kubeconfig' };
    expect(resolveConnection(sources({ labs, env }))).toMatchObject({
      natsUrl: 'nats://lab-xyz',
      note: expect.stringMatching(/using lab xyz: its kubeconfig is KUBECONFIG/),
    });
    expect(() => resolveConnection(sources({ labs, env: { KUBECONFIG: '/root/.kube/config' } }))).toThrow(
      'no bus is selected',
    );
    expect(resolveConnection(sources({ labs, env, flags: { natsUrl: 'nats://other:1' } }))).toMatchObject({
      natsUrl: 'nats://other:1',
      note: '',
    });
  });

  it('lab - the only one is used by default, with a note', () => {
    expect(resolveConnection(sources({ labs: [lab('abc')] })).note).toMatch(/using lab abc/);
  });

  it.each([
    ['two are up', sources({ labs: [lab('abc'), lab('xyz')] }), /--lab abc or --lab xyz/],
    ['none is up', sources(), /--nats-url/],
    ['only a user is given', sources({ flags: { natsUser: 'x' }, labs: [lab('abc')] }), /--nats-url/],
    ['the context names no bus', sources({ context: context({}), labs: [lab('abc')] }), /--nats-url/],
  ])('no default - when %s', (_, given, remedy) => {
    expect(() => resolveConnection(given)).toThrow(
      expect.objectContaining({ code: 'CLI_CONTEXT', exitCode: 6, remedy: expect.stringMatching(remedy) }),
    );
  });

  it('lab - an unknown one is refused with a list of labs', () => {
    expect(() => resolveConnection(sources({ lab: 'zzz', labs: [lab('abc')] }))).toThrow(
      expect.objectContaining({ code: 'CLI_NOT_FOUND', remedy: 'labs that are up: abc' }),
    );
  });

  it('tls - a certificate without its key is refused', () => {
    const flags = { natsUrl: 'tls://x', natsCertFile: 'c' };
    expect(() => resolveConnection(sources({ flags }))).toThrow(/certificate needs its key/);
    expect(resolveConnection(sources({ flags: { ...flags, natsKeyFile: 'k' } })).natsKeyFile).toBe('k');
  });

  it('context file - errors name the field', () => {
    expect(() => parseContext(context('{'))).toThrow(/not JSON/);
    expect(() => parseContext(context({ natsURL: 'x' }))).toThrow(/natsURL: Unrecognized/);
    expect(() => parseContext(context({ natsUrl: 7 }))).toThrow(/natsUrl: /);
    expect(() => parseContext(context([]))).toThrow(/whole file/);
  });

  it('names - variables and the path of the file', () => {
    expect(envNameOf('natsPasswordFile')).toBe('BAILIFF_NATS_PASSWORD_FILE');
    expect(contextPath({}, '/home/me')).toBe('/home/me/.config/bailiff/context.json');
    expect(contextPath({ XDG_CONFIG_HOME: '/x' }, '/home/me')).toBe('/x/bailiff/context.json');
    expect(contextPath({ BAILIFF_CONTEXT: '/y.json' }, '/home/me')).toBe('/y.json');
  });
});
