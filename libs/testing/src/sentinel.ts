import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { firstWords, freePort } from './ports.ts'
import { type ServerProcess, startServer } from './server-process.ts'
import { tempWorld } from './temp-world.ts'
import { until } from './until.ts'

/** A primary with two replicas, all on disk before they acknowledge, and three Sentinels that watch them. */
export interface TestSentinels extends AsyncDisposable {
  /** `redis+sentinel://…`. */
  readonly url: string
  /** The servers by port. */
  readonly servers: ReadonlyMap<number, ServerProcess>
  /** The port of the primary, as most Sentinels see it. */
  primary(): Promise<number>
}

const name = 'flotilla'
const host = '127.0.0.1'

/** Starts Debian's redis-server as both on loopback ports. Fail-over takes about two seconds. */
export async function startSentinels(): Promise<TestSentinels> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld({ name: 'sentinel', tmpfs: true }))
  const start = async (kind: 'server' | 'sentinel', port: number, config: string) => {
    const dir = world.join(`${kind}-${port}`)
    await mkdir(dir)
    // Sentinels rewrite their file, so it is their own.
    const file = join(dir, 'redis.conf')
    await writeFile(file, `bind ${host}\nport ${port}\ndir ${dir}\n${config}`)
    const server = await startServer({
      command: 'redis-server',
      args: kind === 'server' ? [file] : [file, '--sentinel'],
      log: join(dir, 'log'),
      ready: async () => (await firstWords({ host, port }, 'PING\r\n')).startsWith('+PONG'),
    })
    return stack.use(server)
  }
  const ports = [await freePort(host), await freePort(host), await freePort(host)]
  const [first = 0] = ports
  const servers = new Map<number, ServerProcess>()
  for (const port of ports) {
    const role = port === first ? '' : `replicaof ${host} ${first}\n`
    const durable = 'save ""\nappendonly yes\nappendfsync always\nrepl-diskless-sync-delay 0\n'
    servers.set(port, await start('server', port, `${durable}${role}`))
  }
  const sentinels = [await freePort(host), await freePort(host), await freePort(host)]
  for (const port of sentinels)
    await start(
      'sentinel',
      port,
      [
        `sentinel monitor ${name} ${host} ${first} 2`,
        `sentinel down-after-milliseconds ${name} 1000`,
        `sentinel failover-timeout ${name} 4000`,
        '',
      ].join('\n'),
    )
  const ask = (port: number, command: string) => firstWords({ host, port }, `${command}\r\n`)
  const seenBy = async (port: number) =>
    Number(/\r\n(\d+)\r\n$/.exec(await ask(port, `SENTINEL get-master-addr-by-name ${name}`))?.[1])
  await until('replicas and Sentinels to know each other', async () => {
    const words = await Promise.all(sentinels.map((port) => ask(port, `SENTINEL CKQUORUM ${name}`)))
    const info = await ask(first, 'INFO replication')
    return words.every((text) => text.startsWith('+OK 3 ')) && (info.match(/state=online/g)?.length ?? 0) === 2
  })
  const owned = stack.move()
  return {
    url: `redis+sentinel://${sentinels.map((port) => `${host}:${port}`).join(',')}/${name}`,
    servers,
    async primary() {
      const seen = await Promise.all(sentinels.map(seenBy))
      return seen.find((port) => seen.filter((one) => one === port).length > 1) ?? 0
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
