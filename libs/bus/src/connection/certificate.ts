/**
 * When the certificates of the bus end: those of its servers, their authority's, and the client's
 * own.
 *
 * An established connection shows the certificate of its handshake, also after the server has got
 * another one. So this makes a new handshake, without a login, and closes it.
 */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { type DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { pause } from '@bailiff/service/retry';
import type { Bus, BusOptions } from './connect.ts';
import { BusError } from './errors.ts';
import { Transport } from './transport.ts';

export interface CertificateEnd {
  /** Such as `server certificate`, `certificate authority` or `client certificate`. */
  what: string;
  notAfterMs: number;
  /** Absent: not known. */
  notBeforeMs?: number;
}

const DEFAULT_PORT = '4222';
/** A certificate lives for months; a renewed one shows within this time. */
const CHECK_MS = 3_600_000;
/** A server that could not be reached, or a pair of files of which one was renewed so far. */
const RETRY_MS = 60_000;

/**
 * The earliest end of each kind; none without TLS. @param options those that `bus` was connected with
 * @throws BusError BUS_UNREACHABLE
 */
export async function certificateEnds(
  { nc, timeoutMs }: Pick<Bus, 'nc' | 'timeoutMs'>,
  { servers, ...how }: Pick<BusOptions, 'servers' | 'tls' | 'dial'>,
): Promise<CertificateEnd[]> {
  if (!nc.info?.tls_required && !nc.info?.tls_available) return [];
  const urls = [servers].flat().flatMap((list) => list.split(','));
  const all = (await Promise.all(urls.map((url) => endsOf(url.trim(), how, timeoutMs)))).flat();
  const file = how.tls?.certFile;
  if (file) {
    const { validFrom, validTo } = new X509Certificate(await readFile(file));
    all.push(certificateEnd('client certificate', validFrom, validTo));
  }
  const earliest = new Map<string, CertificateEnd>();
  for (const end of all.toSorted((a, b) => b.notAfterMs - a.notAfterMs)) earliest.set(end.what, end);
  return all.filter((end) => earliest.get(end.what) === end);
}

/** @param from as X.509 writes it, and so `to` */
export function certificateEnd(what: string, from: string, to: string): CertificateEnd {
  return { what, notAfterMs: Date.parse(to), notBeforeMs: Date.parse(from) };
}

async function endsOf(
  server: string,
  { tls, dial }: Pick<BusOptions, 'tls' | 'dial'>,
  timeoutMs: number,
): Promise<CertificateEnd[]> {
  const url = new URL(/:\/\//.test(server) ? server : `nats://${server}`);
  const hostname = url.hostname.replace(/^\[|\]$/g, '');
  const attempt = new AbortController();
  const timer = setTimeout(() => attempt.abort(), timeoutMs);
  const transport = new Transport();
  try {
    const target = { hostname, port: Number(url.port || DEFAULT_PORT), tlsName: isIP(hostname) ? '' : hostname };
    // Nothing secret is sent, and the end of a certificate that is not accepted matters most.
    await transport.connect(target, {
      ...(dial ? { dial } : {}),
      attempt: attempt.signal,
      tls: { ...tls, rejectUnauthorized: false },
    });
    const { socket } = transport;
    return socket instanceof TLSSocket ? inChain(socket.getPeerCertificate(true)) : [];
  } catch (cause) {
    throw new BusError('BUS_UNREACHABLE', `cannot read the certificate of ${server}`, { cause });
  } finally {
    clearTimeout(timer);
    await transport.close();
  }
}

function inChain(leaf: DetailedPeerCertificate): CertificateEnd[] {
  const issuer = leaf.issuerCertificate;
  const isOwn = !issuer || issuer.fingerprint256 === leaf.fingerprint256;
  const ends = [certificateEnd('server certificate', leaf.valid_from, leaf.valid_to)];
  return isOwn ? ends : [...ends, certificateEnd('certificate authority', issuer.valid_from, issuer.valid_to)];
}

/** Of the bus. @param options those that `bus` was connected with */
export function watchCertificates(
  bus: Pick<Bus, 'nc' | 'timeoutMs'>,
  options: Pick<BusOptions, 'servers' | 'tls' | 'dial'>,
  signal: AbortSignal,
): () => readonly CertificateEnd[] {
  const read = async () => {
    try {
      return await certificateEnds(bus, options);
    } catch (error) {
      // The connection itself reports that the servers cannot be reached.
      if (error instanceof BusError) return null;
      throw error;
    }
  };
  return watchEnds(read, signal);
}

/**
 * Reads ends now and every CHECK_MS until the signal aborts, and sooner again if it cannot. @param read null: they cannot be read now
 * @returns the newest reading; what it was before, while they cannot be read
 */
export function watchEnds(
  read: () => Promise<readonly CertificateEnd[] | null>,
  signal: AbortSignal,
): () => readonly CertificateEnd[] {
  let ends: readonly CertificateEnd[] = [];
  void (async () => {
    while (!signal.aborted) {
      const found = await read();
      ends = found ?? ends;
      await pause(found === null ? RETRY_MS : CHECK_MS, signal, setQuietTimer);
    }
  })();
  return () => ends;
}

/** Does not keep the process running. */
function setQuietTimer(run: () => void, delayMs: number): () => void {
  const timer = setTimeout(run, delayMs).unref();
  return () => clearTimeout(timer);
}
