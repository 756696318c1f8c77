import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createBus } from '@flotilla/bus'
import { createMetadata } from '@flotilla/metadata'
import { tempWorld, until } from '@flotilla/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startEmbeddedNats, startEmbeddedRedis } from './index.ts'

const pidIn = (path: string) => Number(readFileSync(path, 'utf8'))
const alive = (pid: number) => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return false
  }
}

describe('embedded servers', () => {
  let world: Awaited<ReturnType<typeof tempWorld>>
  let redis: { data: string; run: string }
  beforeEach(async () => {
    world = await tempWorld({ name: 'embedded' })
    redis = { data: join(world.path, 'root/redis'), run: join(world.path, 'state/redis') }
  })
  afterEach(() => world[Symbol.asyncDispose]())

  it('keep acknowledged records when they are killed, and come back by themselves', async () => {
    await using server = await startEmbeddedRedis(redis)
    await using metadata = await createMetadata({ url: server.url, origin: 'test' })
    await metadata.transact('n', { writes: [{ op: 'set', table: 'images', field: 'a', value: 'kept' }] })
    const first = pidIn(join(redis.run, 'redis.pid'))
    process.kill(first, 'SIGKILL')
    await until(
      'the record is back',
      async () => String(await metadata.get('n', 'images', 'a').catch(() => '')) === 'kept',
    )
    expect(pidIn(join(redis.run, 'redis.pid'))).not.toBe(first)
  })

  it('fail calls while they are away rather than queue them', async () => {
    await using server = await startEmbeddedRedis(redis)
    await using metadata = await createMetadata({ url: server.url, origin: 'test' })
    process.kill(pidIn(join(redis.run, 'redis.pid')), 'SIGKILL')
    const refused = await until('a call is refused', () =>
      metadata.get('n', 'images', 'a').then(
        () => undefined,
        (error: { code: number }) => error,
      ),
    )
    expect(refused).toMatchObject({ code: 14 })
  })

  it('end with a killed owner, so that the next owner starts on the same data', async () => {
    const source = `import { startEmbeddedRedis } from ${JSON.stringify(fileURLToPath(new URL('./index.ts', import.meta.url)))}
      await startEmbeddedRedis(${JSON.stringify(redis)})
      console.log('ready')
      setInterval(() => {}, 1000)`
    const owner = spawn(process.execPath, ['--input-type=module-typescript', '-e', source], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: fileURLToPath(new URL('.', import.meta.url)),
    })
    await new Promise((resolve) => owner.stdout.once('data', resolve))
    const pid = pidIn(join(redis.run, 'redis.pid'))
    expect(alive(pid)).toBe(true)
    owner.kill('SIGKILL')
    await until('the server is gone', () => !alive(pid))
    await using again = await startEmbeddedRedis(redis)
    await using metadata = await createMetadata({ url: again.url, origin: 'test' })
    expect(await metadata.namespaceNames()).toEqual([])
  })

  it('take only those who know the password of the message bus', async () => {
    await using server = await startEmbeddedNats({
      data: join(world.path, 'root/nats'),
      run: join(world.path, 'state/nats'),
    })
    await using bus = await createBus({ url: server.url, name: 'test' })
    expect((await bus.nats.jetstreamManager().then((js) => js.getAccountInfo())).streams).toBe(0)
    const { connect } = await import('nats')
    await expect(connect({ servers: new URL(server.url).host })).rejects.toThrow(/authorization/i)
  })
})
