import { mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { supervise } from './supervise.ts'

export interface EmbeddedServer extends AsyncDisposable {
  /** What clients connect to. */
  readonly url: string
}

export interface EmbeddedOptions {
  /** Where data is kept. */
  readonly data: string
  /** Where socket, process id and log go. */
  readonly run: string
  readonly onRestart?: (server: string, reason: string) => void
  /** Listens there too, for other machines, which show the password. */
  readonly network?: { readonly host: string; readonly port: number; readonly password: string }
}

/** What the kernel's address of a unix socket holds, bytes without the end mark. */
const maxSocketPath = 107

/** Whether a unix socket answers PING. */
function pings(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.once('error', () => end(false))
    socket.once('connect', () => socket.write('PING\r\n'))
    // While it loads its file it answers -LOADING.
    // A password is wanted of whoever comes over the network, and then of those who come through the socket as well.
    socket.once('data', (bytes) => end(/^(\+PONG|-NOAUTH)/.test(bytes.toString())))
  })
}

/** A configuration file: arguments are for every user of the machine to read. */
function redisNetwork(run: string, { host, password, port }: NonNullable<EmbeddedOptions['network']>): string {
  const file = join(run, 'redis.conf')
  writeFileSync(file, `bind ${host}\nport ${port}\nrequirepass ${password}\n`, { mode: 0o600 })
  return file
}

/**
 * Starts a redis-server on a unix socket that only root can open. Every write is on disk before it is acknowledged
 * (`appendfsync always`); there are no snapshots beside the append-only file.
 */
export async function startEmbeddedRedis(options: EmbeddedOptions): Promise<EmbeddedServer> {
  mkdirSync(options.data, { recursive: true, mode: 0o700 })
  mkdirSync(options.run, { recursive: true, mode: 0o700 })
  const socket = join(options.run, 'redis.sock')
  if (Buffer.byteLength(socket) > maxSocketPath)
    throw new Error(`${socket} is too long for a socket: ${maxSocketPath} bytes at most`)
  const owner = await supervise({
    command: 'redis-server',
    args: [
      ...(options.network ? [redisNetwork(options.run, options.network)] : ['--port', '0']),
      '--unixsocket',
      socket,
      '--unixsocketperm',
      '700',
      '--dir',
      options.data,
      '--appendonly',
      'yes',
      '--appendfsync',
      'always',
      '--save',
      '',
      '--aof-use-rdb-preamble',
      'yes',
      '--daemonize',
      'no',
      '--stop-writes-on-bgsave-error',
      'no',
    ],
    cwd: options.run,
    log: join(options.run, 'redis.log'),
    pidFile: join(options.run, 'redis.pid'),
    ready: () => pings(socket),
    onRestart: (reason) => options.onRestart?.('redis-server', reason),
  })
  const { network } = options
  const url = network ? `redis://:${network.password}@${network.host}:${network.port}` : `unix://${socket}`
  return { url, [Symbol.asyncDispose]: () => owner[Symbol.asyncDispose]() }
}
