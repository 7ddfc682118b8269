/** Every socket on which a part of Bailiff accepts connections. Complete by test: ports of all containers. */
import { bytes, nanos } from '../markdown.ts';
import { numberOf, OPEN } from './share.ts';

export interface Listener {
  readonly what: string;
  /** `<container>:<port>` as the manifests declare it; empty: no port. */
  readonly ports: readonly string[];
  readonly reachedBy: string;
  readonly share: string;
  readonly counter: string;
  readonly tests: readonly string[];
}

const HTTP = ['libs/service/src/http.test.ts'];
const SINGLE = 'libs/service/src/single-requests.test.ts';
const http = (name: string) => numberOf('libs/service/src/http.ts', name);
const cni = (name: string) => numberOf('apps/collector/src/cni/socket-server.ts', name);
const CONSOLE = {
  connections: numberOf('apps/console/src/server/server.ts', 'MAX_CONNECTIONS'),
  pages: numberOf('apps/console/src/server/open-pages.ts', 'MAX_STREAMS'),
  readings: numberOf('apps/console/src/server/readings.ts', 'MAX_READS'),
};
const SERVICES = ['bus-auth', 'correlator', 'ipam-sync', 'responder', 'siem-relay'];
const CLOSED = '`bailiff_http_connections_closed_total`';
const UNENFORCED = 'every pod where network policies are not enforced';

export const LISTENERS: readonly Listener[] = [
  {
    what: "metrics of a collector: port 9464 of the node's address",
    ports: ['collector:9464'],
    reachedBy: 'every pod, because network policies do not cover the host network',
    share: `${http('MAX_CONNECTIONS_PER_SOURCE')} connections per source address, ${http('MAX_CONNECTIONS')} in all, one request, whose first ${bytes(http('MAX_HEADER_BYTES'))} are read, and ${nanos(http('CONNECTION_MS') * 1e6)} a connection. Above it an older connection is closed, of the source that has most. 20 renderings a second, and a tenth of the time if they take longer; beyond that the last one is repeated`,
    counter: `${CLOSED}, \`bailiff_http_metrics_repeated_total\``,
    tests: ['test/cluster/collector-listeners.test.ts', ...HTTP],
  },
  {
    what: 'probes of a collector: 127.0.0.1:9465 of the node',
    ports: ['collector:9465'],
    reachedBy:
      "processes in the node's network namespace. Connections from other addresses are closed, also where `route_localnet` delivers them",
    share: 'as above, counted apart',
    counter: CLOSED,
    tests: ['test/cluster/collector-listeners.test.ts'],
  },
  {
    what: 'metrics of the other parts: port 9464 of the pod',
    ports: SERVICES.map((name) => `${name}:9464`),
    reachedBy: `namespaces with the label \`bailiff.dev/metrics=reader\`; ${UNENFORCED}`,
    share: 'as above',
    counter: CLOSED,
    tests: HTTP,
  },
  {
    what: 'probes of the other parts: port 9465 of the pod',
    ports: SERVICES.map((name) => `${name}:9465`),
    reachedBy: `the node; ${UNENFORCED}`,
    share: 'as above',
    counter: CLOSED,
    tests: HTTP,
  },
  {
    what: 'CNI socket of a collector: `/run/bailiff/cni.sock`',
    ports: [],
    reachedBy: 'root of the node, checked by mode 0600 and peer credentials',
    share: `${cni('MAX_CONNECTIONS')} connections, ${bytes(cni('MAX_PENDING_BYTES'))} of incomplete requests, 10 s without data; the plugin repeats its request`,
    counter: '`bailiff_collector_cni_requests_total`',
    tests: ['apps/collector/src/cni/socket-server.test.ts'],
  },
  {
    what: '`bailiff console`: 127.0.0.1:9470 and [::1]:9470 of the machine where it runs',
    ports: [],
    reachedBy:
      'all users of that machine. Data needs a session, which a one-time link opens; requests by another name, or from another page, are refused',
    share: `${CONSOLE.connections} connections, ${CONSOLE.pages} open pages, ${CONSOLE.readings} readings at a time; beyond that requests are refused. A connection has one request at a time, and ends if it sends more before the response. A new connection displaces an idle one`,
    counter: 'none',
    tests: ['test/cluster/console.test.ts', 'test/cluster/console-origins.test.ts', SINGLE],
  },
  {
    what: 'the console of a cluster, if it is installed: port 9470 of the pod',
    ports: [],
    reachedBy: `\`console.clients\` of the chart; ${UNENFORCED}. Data needs a token that the API server accepts, or a name from a proxy that proves itself`,
    share: `${CONSOLE.connections} connections, of which a new one displaces an idle one of the source with most of them. Idle is also one whose response is not read, unless it is that of a page, a reading, a trial or a change. Each has one request at a time, and ends if it sends more before the response. Of ${CONSOLE.pages} open pages and ${CONSOLE.readings} readings at a time, each until its response is read (two minutes at most), one visitor has half of what is free, and a quarter is for those who may see all namespaces.`,
    counter: '`bailiff_console_refused_total`, `bailiff_console_pages`, `bailiff_console_displaced_connections_total`',
    tests: ['apps/console/src/server/server.test.ts', SINGLE, 'test/cluster/console-visitors.test.ts'],
  },
  {
    what: 'the evidence-log, if it is installed: 127.0.0.1:9471 of its pod',
    ports: [],
    reachedBy: 'people who may forward ports of the pod; other sources are refused. It has hashes only',
    share: 'as the metrics: a new connection displaces one of the source with most of them',
    counter: 'none',
    tests: ['test/cluster/evidence-log.test.ts'],
  },
  {
    what: '`bailiff witness`: 127.0.0.1:9472, or `--listen`, of the machine where it runs',
    ports: [],
    reachedBy: 'everyone who reaches the address; the signature of a log decides',
    share: `${numberOf('apps/cli/src/investigate/witness/server.ts', 'MAX_CONNECTIONS')} connections, of which a new one displaces one of the source with most of them; one request at a time each, of 128 KiB and 10 s`,
    counter: 'none',
    tests: ['test/cluster/witness.test.ts', SINGLE],
  },
  {
    what: 'NATS: 4222',
    ports: ['nats:4222'],
    reachedBy: 'everyone; TLS and credentials decide',
    share: `65,536 connections in all; 4 s to log in. While it is full, clients retry. ${OPEN}no share by source: some hundred logins a second with wrong passwords take a processor of the server (1.4 ms each), and delay the acks of all`,
    counter: 'NATS `/varz`',
    tests: ['test/cluster/bus-auth-attack.test.ts', 'test/bus/login-cost.test.ts'],
  },
  {
    what: 'NATS: 6222',
    ports: ['nats:6222'],
    reachedBy: 'NATS servers, by certificate and password',
    share: 'none',
    counter: 'NATS `/routez`',
    tests: ['test/cluster/bus-routes.test.ts'],
  },
  {
    what: "NATS: 8222, also the kubelet's probes",
    ports: ['nats:8222'],
    reachedBy: `the node; ${UNENFORCED}`,
    share: `the server closes idle connections within seconds: 10,000 at once from one address took no measurable memory. A request costs as much as in [ports without login](../threat-model.md#not-covered). ${OPEN}where network policies are not enforced, one pod can have the server restarted: it reads up to 1 MiB of a header for 5 s, which nats-server cannot limit. 1,000 connections with 900 kB each of an incomplete header took 1.8 GiB, 400 took 0.8 GiB`,
    counter: 'none',
    tests: [],
  },
  {
    what: "Valkey: 6379, also the kubelet's probes",
    ports: ['redis:6379'],
    reachedBy: `the responder, by password; ${UNENFORCED}`,
    share: `10,000 connections in all, 1.5 kB each, or up to 160 kB with an incomplete command. Of more than 64 MiB (maxmemory-clients), the largest are closed, so that memory is left for jobs. Probes succeed also above it, and the responder keeps its connections. ${OPEN}where network policies are not enforced, one pod can hold all of them, and the responder cannot connect again. A higher limit would let such a pod fill the memory of the container instead`,
    counter: '`bailiff_responder_redis_up`',
    tests: ['test/cluster/valkey.test.ts'],
  },
];
