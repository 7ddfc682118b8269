// Logs in to the bus with nothing of Bailiff, as any NATS client can. NATS_CA_FILE is the CA for tls:// URLs.
// During a rotation the password file has two lines, the new password first. Each attempt reads the
// file again and tries the next line.
import { readFileSync } from 'node:fs';
import { connect, usernamePasswordAuthenticator } from '@nats-io/transport-node';

export async function connectAs(defaultUser) {
  const { NATS_URL, NATS_USER: user = defaultUser, NATS_PASSWORD_FILE, NATS_CA_FILE } = process.env;
  const passwords = () => readFileSync(NATS_PASSWORD_FILE, 'utf8').split(/\s+/).filter(Boolean);
  let turn = 0;
  const next = () => passwords()[turn++ % passwords().length];
  for (let left = passwords().length; ; left -= 1) {
    try {
      return await connect({
        servers: NATS_URL,
        authenticator: usernamePasswordAuthenticator(user, next),
        inboxPrefix: `_INBOX_${user}`,
        tls: NATS_CA_FILE ? { caFile: NATS_CA_FILE } : /tls:/.test(NATS_URL) ? {} : undefined, // {}: required
        maxReconnectAttempts: -1,
        ignoreAuthErrorAbort: true, // during a rotation the next attempt uses the other password
      });
    } catch (error) {
      if (left <= 1) throw error;
    }
  }
}
