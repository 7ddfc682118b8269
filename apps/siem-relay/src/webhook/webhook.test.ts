// Signatures against the published example and by an independent key pair; bodies of each template
// with hostile texts.
import { createHmac, generateKeyPairSync, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Facts } from '../outputs/facts.ts';
import type { OutputEvent } from '../outputs/output.ts';
import { parseSecrets, signedHeaders } from './signature.ts';
import { bodyOf, type TEMPLATES } from './templates.ts';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const OTHER = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const ID = 'msg_p5jXN8AQM9LWM0D4loKWxJek';
const BODY = Buffer.from('{"test": 2432232314}');

describe('signature', () => {
  it('HMAC - equals the example of the specification', () => {
    expect(signedHeaders(parseSecrets(SECRET), ID, 1_614_265_330, BODY)).toEqual({
      'webhook-id': ID,
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  it('rotation - both secrets sign, so that a receiver with either accepts', () => {
    const { 'webhook-signature': signature = '' } = signedHeaders(parseSecrets(`${OTHER}\n${SECRET}\n`), ID, 5, BODY);
    const expected = [OTHER, SECRET].map((secret) => {
      const key = Buffer.from(secret.slice(6), 'base64');
      return `v1,${createHmac('sha256', key).update(`${ID}.5.${BODY}`).digest('base64')}`;
    });
    expect(signature.split(' ')).toEqual(expected);
  });

  it('Ed25519 - verifies by the public key, and not for another body or time', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const seed = Buffer.from(privateKey.export({ format: 'jwk' }).d as string, 'base64url');
    const { 'webhook-signature': signature = '' } = signedHeaders(
      parseSecrets(`whsk_${seed.toString('base64')}`),
      ...([ID, 5, BODY] as const),
    );
    expect(signature).toMatch(/^v1a,/);
    const isValid = (content: string) =>
      verify(null, Buffer.from(content), publicKey, Buffer.from(signature.slice(4), 'base64'));
    expect([isValid(`${ID}.5.${BODY}`), isValid(`${ID}.6.${BODY}`), isValid(`${ID}.5.{}`)]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it.each([
    ['nothing', '\n'],
    ['three secrets', [SECRET, SECRET, OTHER].join('\n')],
    ['no prefix', Buffer.alloc(32).toString('base64')],
    ['a short secret', 'whsec_c2hvcnQ='],
    ['an Ed25519 key of 33 bytes', `whsk_${Buffer.alloc(33).toString('base64')}`],
  ])('%s - is refused, without the secret in the error', (_, text) => {
    expect(() => parseSecrets(text)).toThrow(expect.objectContaining({ code: 'OUTPUT_MISCONFIGURED' }));
    try {
      parseSecrets(text);
    } catch (error) {
      for (const line of text.split('\n').filter(Boolean)) expect((error as Error).message).not.toContain(line);
    }
  });
});

const HOSTILE = '<!channel> [pay](http://evil) *bold* & `x`';
const facts: Facts = {
  kind: 'verdict',
  uid: 'verdicts-x-1-0',
  verdictId: 'abc',
  title: HOSTILE,
  summary: HOSTILE,
  level: 'high',
  rule: 'spoof-flood',
  clusterUid: 'uid-1',
  clusterName: 'shop-eu',
  node: 'node-1',
  namespace: 'shop',
  pod: 'web-0',
  podUid: 'p',
  action: '',
  phase: '',
  timeMs: 1_790_000_000_000,
  process: 'sh',
  executable: '/bin/sh',
  tags: ['attack.t1611'],
};
const event: OutputEvent = {
  sequence: 1,
  subject: '',
  uid: facts.uid,
  className: 'detection-finding',
  node: 'node-1',
  severity: 4,
  timeMicros: 1_790_000_000_000_000,
  storedMicros: 1,
  data: Buffer.from('{"class_uid":2004}'),
};
const parsed = (template: (typeof TEMPLATES)[number], of = facts) =>
  JSON.parse(bodyOf(template, event, of, 'key-1').body.toString('utf8'));

describe('templates', () => {
  it('json - is the event as it is on the bus', () => {
    expect(bodyOf('json', event, facts, '')).toEqual({ contentType: 'application/json', body: event.data });
  });

  it('cloudevents - has the uid as id, and the event as data', () => {
    expect(bodyOf('cloudevents', event, facts, '').contentType).toBe('application/cloudevents+json');
    expect(parsed('cloudevents')).toEqual({
      specversion: '1.0',
      id: facts.uid,
      source: '/bailiff/uid-1',
      type: 'dev.bailiff.siem.detection-finding',
      time: '2026-09-21T14:13:20.000Z',
      subject: 'shop/web-0',
      datacontenttype: 'application/json',
      data: { class_uid: 2004 },
    });
  });

  it('slack - texts are plain text, and the notification escapes markup', () => {
    const { text, blocks } = parsed('slack');
    expect(text).toBe('high: &lt;!channel&gt; [pay](http://evil) *bold* &amp; `x`');
    const types = blocks.flatMap((block: { text?: { type: string }; fields?: { type: string }[] }) => [
      ...(block.text ? [block.text.type] : []),
      ...(block.fields ?? []).map(({ type }) => type),
    ]);
    expect(new Set(types)).toEqual(new Set(['plain_text']));
    expect(JSON.stringify(blocks)).toContain('Cluster: shop-eu');
    expect(parsed('slack', { ...facts, title: 'x'.repeat(999) }).blocks[0].text.text).toHaveLength(150);
  });

  it('teams - an Adaptive Card whose texts have no live markup', () => {
    const { type, attachments } = parsed('teams');
    expect(type).toBe('message');
    const { body } = attachments[0].content;
    expect(body[0].text).toBe('\\<\\!channel\\> \\[pay\\]\\(http://evil\\) \\*bold\\* & \\`x\\`');
    expect(body[2].facts).toContainEqual({ title: 'Pod', value: 'shop/web\\-0' });
  });

  it('pagerduty - an event that is deduplicated by verdict', () => {
    const value = parsed('pagerduty', { ...facts, summary: 'y'.repeat(2_000) });
    expect(value).toMatchObject({
      routing_key: 'key-1',
      event_action: 'trigger',
      dedup_key: 'abc',
      payload: { severity: 'error', source: 'shop/web-0', group: 'shop', class: 'spoof-flood' },
    });
    expect(value.payload.summary).toHaveLength(1_024);
  });
});
