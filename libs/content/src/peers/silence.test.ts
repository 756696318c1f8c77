import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { Silence } from './silence.ts'

it('who listens and hears nothing stops', async () => {
  using silence = new Silence(80)
  silence.listen()
  await new Promise((resolve) => silence.signal.addEventListener('abort', resolve))
})

it('who does not listen misses nothing', async () => {
  using silence = new Silence(40)
  silence.listen()
  silence.heard()
  await sleep(200)
  expect(silence.signal.aborted).toBe(false)
})

it('a process that stood still has not listened', async () => {
  using silence = new Silence(160)
  silence.listen()
  const until = Date.now() + 500
  while (Date.now() < until);
  await sleep(1)
  expect(silence.signal.aborted).toBe(false)
})
