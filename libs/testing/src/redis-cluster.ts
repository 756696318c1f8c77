import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { firstWords, freePort } from './ports.ts'
import { type ServerProcess, startServer } from './server-process.ts'
import { tempWorld } from './temp-world.ts'
import { until } from './until.ts'

/** Three primaries of a Redis Cluster that share its slots. */
export interface TestRedisCluster extends AsyncDisposable {
  /** `redis+cluster://…`. */
  readonly url: string
  readonly servers: readonly ServerProcess[]
}

const host = '127.0.0.1'
const slots = 16_384

/** Starts Debian's redis-server three times on loopback ports. */
export async function startRedisCluster(): Promise<TestRedisCluster> {
  await using stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld({ name: 'redis-cluster', tmpfs: true }))
  const ports: number[] = []
  const servers: ServerProcess[] = []
  const meetings: string[] = []
  // A member listens for the others at a port 10,000 above its own unless told another.
  for (let index = 0; index < 3; index++) {
    const [port, bus] = [await freePort(host), await freePort(host)]
    const dir = world.join(String(port))
    await mkdir(dir)
    const file = join(dir, 'redis.conf')
    const cluster = `cluster-enabled yes\ncluster-port ${bus}\ncluster-node-timeout 15000\n`
    await writeFile(
      file,
      `bind ${host}\nport ${port}\ndir ${dir}\nsave ""\nappendonly yes\nappendfsync always\n${cluster}`,
    )
    const server = await startServer({
      command: 'redis-server',
      args: [file],
      log: join(dir, 'log'),
      ready: async () => (await firstWords({ host, port }, 'PING\r\n')).startsWith('+PONG'),
    })
    servers.push(stack.use(server))
    ports.push(port)
    const share = (at: number) => Math.floor((slots * at) / 3)
    const ask = async (command: string) => {
      const answer = await firstWords({ host, port }, `${command}\r\n`)
      if (!answer.startsWith('+OK')) throw new Error(`${command}: ${answer}`)
    }
    await ask(`CLUSTER ADDSLOTSRANGE ${share(index)} ${share(index + 1) - 1}`)
    await ask(`CLUSTER SET-CONFIG-EPOCH ${index + 1}`)
    if (index > 0) meetings.push(`CLUSTER MEET ${host} ${port} ${bus}`)
  }
  for (const meet of meetings) await firstWords({ host, port: ports[0] ?? 0 }, `${meet}\r\n`)
  await until('all slots to be served', async () => {
    const states = await Promise.all(ports.map((port) => firstWords({ host, port }, 'CLUSTER INFO\r\n')))
    return states.every((text) => text.includes('cluster_state:ok') && text.includes('cluster_known_nodes:3'))
  })
  const owned = stack.move()
  return {
    url: `redis+cluster://${ports.map((port) => `${host}:${port}`).join(',')}`,
    servers,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
