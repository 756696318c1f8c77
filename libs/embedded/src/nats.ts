import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import type { EmbeddedOptions, EmbeddedServer } from './redis.ts'
import { supervise } from './supervise.ts'

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no free port')),
      )
    })
  })
}

function greets(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host)
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.once('error', () => end(false))
    socket.once('data', (bytes) => end(bytes.toString().startsWith('INFO ')))
  })
}

/** Largest command to a node, bytes: container specs travel in them. NATS itself allows 1 MiB unless told otherwise. */
const maxPayload = 8 * 1024 * 1024

/** Starts a nats-server with JetStream on a free loopback port, with a password made for this run. */
export async function startEmbeddedNats(options: EmbeddedOptions): Promise<EmbeddedServer> {
  mkdirSync(options.data, { recursive: true, mode: 0o700 })
  mkdirSync(options.run, { recursive: true, mode: 0o700 })
  const host = options.network?.host ?? '127.0.0.1'
  const port = options.network?.port ?? (await freePort())
  const password = options.network?.password ?? randomBytes(24).toString('base64url')
  const config = join(options.run, 'nats.conf')
  writeFileSync(
    config,
    `listen: "${host}:${port}"\nmax_payload: ${maxPayload}\nauthorization { user: "flotilla", password: "${password}" }\njetstream { store_dir: ${JSON.stringify(options.data)} }\n`,
    { mode: 0o600 },
  )
  const owner = await supervise({
    command: 'nats-server',
    args: ['--config', config],
    cwd: options.run,
    log: join(options.run, 'nats.log'),
    pidFile: join(options.run, 'nats.pid'),
    ready: () => greets(host, port),
    onRestart: (reason) => options.onRestart?.('nats-server', reason),
  })
  return {
    url: `nats://flotilla:${password}@${host}:${port}`,
    [Symbol.asyncDispose]: () => owner[Symbol.asyncDispose](),
  }
}
