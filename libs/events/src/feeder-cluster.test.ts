import { startNatsCluster, until } from '@flotilla/testing'
import { connect } from 'nats'
import { expect, it } from 'vitest'
import { eventsWorld, numbered, say } from './fixture.ts'

const stream = 'FLOTILLA_EVENTS'

it('of a NATS cluster of three, one may go: events go on, and each is in JetStream once and in order', async () => {
  await using cluster = await startNatsCluster()
  const servers = cluster.url.split(',').map((url) => url.slice('nats://'.length))
  const open = () =>
    connect({ servers, maxReconnectAttempts: -1, reconnectTimeWait: 50, pingInterval: 500, timeout: 500 })
  await using stack = new AsyncDisposableStack()
  const connection = async () => {
    const nats = await open()
    stack.defer(() => nats.close())
    return nats
  }
  // Two nodes, of which one feeds and the other stands by.
  const first = await connection()
  const world = stack.use(await eventsWorld({ deps: { nats: first, replicas: 3 } }))
  await world.another({ nats: await connection(), replicas: 3 })
  const watching = await connection()
  const manager = await watching.jetstreamManager({ checkAPI: false, timeout: 1_000 })
  const holds = (count: number) =>
    until(
      `${count} messages in JetStream`,
      async () => {
        const { state } = await manager.streams.info(stream)
        return state.messages >= count
      },
      { timeout: 60_000 },
    )
  let said = 0
  const speak = async (count: number) => {
    for (let i = 0; i < count; i++) await say(world.service, String(said++))
  }
  await speak(50)
  await holds(50)
  const { cluster: group, config } = await manager.streams.info(stream)
  expect(config.num_replicas).toBe(3)

  // The server that leads the stream, and then the one to which the feeding node is connected, if that is another.
  const names = ['n1', 'n2', 'n3']
  const ports = [...cluster.servers.keys()]
  const leader = ports[names.indexOf(group?.leader ?? '')]
  for (const port of new Set([leader, Number(first.getServer().split(':').at(-1))])) {
    const server = cluster.servers.get(port ?? 0)
    if (server === undefined) throw new Error(`no server at port ${port}`)
    const before = said
    await server.kill()
    await speak(50)
    await holds(before + 50)
    await server.restart()
    await speak(10)
    await holds(said)
  }
  const stored: number[] = []
  const { state } = await manager.streams.info(stream)
  for (let seq = state.first_seq; seq <= state.last_seq; seq++)
    stored.push(Number((await manager.streams.getMessage(stream, { seq })).header.get('Flotilla-Sequence')))
  expect(stored).toEqual(numbered(said).map((_, index) => index + 1))
}, 180_000)
