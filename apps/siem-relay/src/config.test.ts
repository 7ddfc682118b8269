import { runService } from '@bailiff/service';
import { captureIo } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { configSchema } from './config.ts';
import { parseAddress } from './syslog/connection.ts';

async function check(...argv: string[]) {
  const captured = captureIo();
  const start = () => undefined;
  const code = await runService({
    name: 'siem-relay',
    argv: [...argv, '--check-config'],
    schema: configSchema,
    io: captured.io,
    start,
  });
  return { code, text: captured.stderr() };
}

it.each([
  ['no flags', []],
  ['several formats', ['--formats', 'ocsf,ecs,cef']],
  ['syslog', ['--formats', 'ocsf,cef', '--syslog-address', 'siem.example:6514']],
  ['a v6 receiver', ['--formats', 'cef', '--syslog-address', '[2001:db8::1]:6514']],
  ['two Alertmanagers', ['--alertmanager.urls', 'http://alerts-0:9093,http://alerts-1:9093']],
  ['a link of alerts', ['--alertmanager.generator-url', 'https://console.example/#/v/{verdictId}?a=%20b']],
  ['a syslog format that does not matter', ['--syslog-format', 'ecs']],
])('config - accepts %s', async (_, argv) => {
  expect(await check(...argv)).toEqual({ code: 0, text: '' });
});

it.each([
  ['no format', ['--formats', ''], /formats/],
  ['an unknown format', ['--formats', 'leef'], /formats/],
  [
    'a syslog format that is not made',
    ['--syslog-address', 'a:1', '--syslog-format', 'ecs'],
    /syslogFormat: is not among formats/,
  ],
  [
    'a receiver without a port',
    ['--formats', 'cef', '--syslog-address', 'siem.example'],
    /syslogAddress: must be host:port/,
  ],
  [
    'one Alertmanager twice',
    ['--alertmanager.urls', 'http://alerts:9093,http://alerts:9093/'],
    /alertmanager.urls: must name different servers/,
  ],
  ['an Alertmanager that is no URL', ['--alertmanager.urls', 'alerts:9093'], /alertmanager.urls/],
  ...['console.example/v/{verdictId}', '/v', 'https://c/%zz', 'javascript:alert(1)'].map(
    (link): [string, string[], RegExp] => [
      `the link ${link}`,
      ['--alertmanager.generator-url', link],
      /generatorUrl: must be an http or https URL/,
    ],
  ),
  ['an unknown facility', ['--syslog-facility', 'local9'], /syslogFacility/],
])('config - %s is refused', async (_, argv, reason) => {
  const { code, text } = await check(...argv);
  expect([2, 6]).toContain(code);
  expect(text).toMatch(reason);
});

it('config - addresses of receivers, v4, v6 and names', () => {
  expect(parseAddress('a.example:6514')).toEqual({ host: 'a.example', port: 6514 });
  expect(parseAddress('[::1]:514')).toEqual({ host: '::1', port: 514 });
});
