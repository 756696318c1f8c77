import { describe, expect, it } from 'vitest'
import { createLogger, redact, requestLog } from './index.ts'

function collector() {
  const lines: string[] = []
  return { lines, destination: { write: (line: string) => void lines.push(line) } }
}
const parsed = (lines: string[]) => lines.map((line) => JSON.parse(line) as Record<string, unknown>)
const record = {
  service: 'containerd.services.images.v1.Images',
  method: 'Get',
  namespace: 'default',
  code: 5,
  message: 'cannot reach redis://u:pw@h:1: not found',
  duration: 1.23456,
}

describe('createLogger', () => {
  it('writes JSON lines with name, level by name and time', () => {
    const { lines, destination } = collector()
    createLogger({ level: 'info', name: 'images', destination }).info({ node: 'n1' }, 'ready')
    expect(parsed(lines)[0]).toMatchObject({ level: 'info', name: 'images', node: 'n1', msg: 'ready' })
    expect(String(parsed(lines)[0]?.time)).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/)
  })

  it('takes every level of containerd and no other', () => {
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'panic'])
      expect(() => createLogger({ level, name: 'x', destination: collector().destination })).not.toThrow()
    expect(() => createLogger({ level: 'loud', name: 'x' })).toThrow('log level "loud" is none of')
  })

  it('takes passwords out of errors', () => {
    const { lines, destination } = collector()
    const err = new Error('no answer from redis://:hunter2@host:6379')
    createLogger({ level: 'info', name: 'x', destination }).error({ err }, 'failed')
    expect(lines[0]).toContain('no answer from')
    expect(lines[0]).not.toContain('hunter2')
  })
})

describe('requestLog', () => {
  it('writes one line a request at debug, without passwords', () => {
    const { lines, destination } = collector()
    requestLog(createLogger({ level: 'debug', name: 'x', destination }))(record)
    expect(parsed(lines)).toHaveLength(1)
    expect(parsed(lines)[0]).toMatchObject({
      level: 'debug',
      service: 'containerd.services.images.v1.Images',
      method: 'Get',
      namespace: 'default',
      duration: 1.235,
      code: 'NOT_FOUND',
      error: 'cannot reach redis://u:***@h:1: not found',
    })
  })

  it('writes nothing at info', () => {
    const { lines, destination } = collector()
    requestLog(createLogger({ level: 'info', name: 'x', destination }))(record)
    expect(lines).toEqual([])
  })
})

describe('redact', () => {
  it.each([
    ['redis://user:p%40ss@h/0', 'redis://user:***@h/0'],
    ['redis://:pw@h', 'redis://:***@h'],
    ['nats://u:a:b@h:4222, nats://token@i', 'nats://u:***@h:4222, nats://***@i'],
    ['nats://u:p@ss@h:4222', 'nats://u:***@h:4222'],
    ['unix:///run/redis.sock?password=pw&db=1', 'unix:///run/redis.sock?password=***&db=1'],
    ['https://registry.example/v2/?token=abc', 'https://registry.example/v2/?token=***'],
    ['docker.io/library/a@sha256:ab', 'docker.io/library/a@sha256:ab'],
    ['http://h/a@sha256:ab', 'http://h/a@sha256:ab'],
  ])('%s', (text, safe) => expect(redact(text)).toBe(safe))
})
