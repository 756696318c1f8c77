import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { startNats } from './nats.ts'
import { firstWords } from './ports.ts'
import { startRedis } from './redis.ts'

const ask = (path: string, command: string) => firstWords({ path }, `${command}\r\n`)

describe('startRedis', () => {
  it('keeps what it acknowledged through a kill, and leaves nothing', async () => {
    let path = ''
    let pid: number | undefined
    {
      await using redis = await startRedis()
      path = redis.url
      expect(await ask(path, 'SET k v')).toBe('+OK\r\n')
      const before = redis.pid
      await redis.kill()
      expect(redis.pid).toBeUndefined()
      await redis.restart()
      pid = redis.pid
      expect(pid).not.toBe(before)
      expect(await ask(path, 'GET k')).toBe('$1\r\nv\r\n')
      expect(await ask(path, 'CONFIG GET appendfsync')).toContain('always')
    }
    expect(existsSync(path)).toBe(false)
    expect(existsSync(`/proc/${pid}`)).toBe(false)
  })
})

describe('startNats', () => {
  it('has JetStream, and restarts on the same port with its store wiped or kept', async () => {
    await using nats = await startNats()
    const port = Number(new URL(nats.url).port)
    expect(await firstWords({ host: '127.0.0.1', port })).toContain('"jetstream":true')
    await expect(nats.wipe()).rejects.toThrow('only while')
    await nats.kill()
    await nats.wipe()
    await nats.restart()
    expect(await firstWords({ host: '127.0.0.1', port })).toContain('"jetstream":true')
  })
})
