import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { clientOf, connect, createRpcServer, makeCall, status } from '@flotilla/rpc'
import { tempWorld } from '@flotilla/testing'
import { expect, test } from 'vitest'
import { createHealthService, ServingStatus } from './health.ts'

async function served() {
  const stack = new AsyncDisposableStack()
  const world = stack.use(await tempWorld())
  const server = stack.use(createRpcServer())
  const health = createHealthService()
  server.add(HealthDefinition, health)
  const connection = connect(await server.listen(`unix://${world.join('health.sock')}`))
  stack.defer(() => connection.close())
  return {
    health,
    client: clientOf(HealthDefinition, connection),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

test('the server as a whole serves; other names are unknown until they are set', async () => {
  await using world = await served()
  const call = makeCall()
  expect(await world.client.check({ service: '' }, call)).toEqual({ status: ServingStatus.SERVING })
  await expect(world.client.check({ service: 'x' }, call)).rejects.toMatchObject({
    code: status.NOT_FOUND,
    message: 'unknown service',
  })
  world.health.set('x', ServingStatus.NOT_SERVING)
  expect(await world.client.check({ service: 'x' }, call)).toEqual({ status: ServingStatus.NOT_SERVING })
})

test('a watcher sees the state at once and then every change', async () => {
  await using world = await served()
  const stop = new AbortController()
  const states = world.client.watch({ service: 'x' }, makeCall({ signal: stop.signal }))[Symbol.asyncIterator]()
  expect(await states.next()).toMatchObject({ value: { status: ServingStatus.SERVICE_UNKNOWN } })
  for (const state of [ServingStatus.SERVING, ServingStatus.NOT_SERVING, ServingStatus.SERVING]) {
    world.health.set('x', state)
    // Neither the same state again nor another service's is news.
    world.health.set('x', state)
    world.health.set('y', state)
    expect(await states.next()).toMatchObject({ value: { status: state } })
  }
  world.health.stopServing()
  expect(await states.next()).toMatchObject({ value: { status: ServingStatus.NOT_SERVING } })
  stop.abort()
  await expect(states.next()).rejects.toMatchObject({ code: status.CANCELLED })
})

test('a server that stops says so for everything that it knows', async () => {
  await using world = await served()
  world.health.set('x', ServingStatus.SERVING)
  world.health.stopServing()
  for (const service of ['', 'x'])
    expect(await world.client.check({ service }, makeCall())).toEqual({ status: ServingStatus.NOT_SERVING })
})

test('in one process a watch ends with its call', async () => {
  const health = createHealthService()
  const stop = new AbortController()
  const states = health.watch({ service: '' }, makeCall({ signal: stop.signal }))[Symbol.asyncIterator]()
  expect(await states.next()).toMatchObject({ value: { status: ServingStatus.SERVING } })
  const next = states.next()
  stop.abort()
  expect(await next).toMatchObject({ done: true })
})
