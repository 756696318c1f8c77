import { makeCall, status } from '@flotilla/rpc'
import { expect, it } from 'vitest'
import { put, read } from '../testing/blobs.ts'
import { contentNodes } from '../testing/nodes.ts'

const call = makeCall({ namespace: 'ns' })

it('a node that was too busy to answer is asked again', async () => {
  await using nodes = await contentNodes(['one', 'two'])
  const digest = await put(nodes.of('one').content, call, 'on one')
  nodes.busy.set('one', 2)
  expect(String(await read(nodes.of('two').content, call, digest))).toBe('on one')
  expect(nodes.asked).toEqual(['one', 'one', 'one'])
})

it('one that never answers is given up, by its name and with what it said', async () => {
  await using nodes = await contentNodes(['one', 'two'])
  const digest = await put(nodes.of('one').content, call, 'on one')
  nodes.busy.set('one', Number.POSITIVE_INFINITY)
  await expect(read(nodes.of('two').content, call, digest)).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    message: expect.stringMatching(/cannot be had on node "two": one: one has much to do/),
  })
  nodes.busy.clear()
  expect(String(await read(nodes.of('two').content, call, digest))).toBe('on one')
})

it('what came before a source broke off is not sent again', async () => {
  await using nodes = await contentNodes(['one', 'two'])
  const whole = Buffer.from(Array.from({ length: 2 ** 20 }, (_, index) => index % 251))
  const digest = await put(nodes.of('one').content, call, whole)
  nodes.breaking.set('one', 2)
  expect(await read(nodes.of('two').content, call, digest)).toEqual(whole)
  const [first, second, third, ...rest] = nodes.readFrom
  expect([first, rest]).toEqual([0, []])
  expect(second).toBeGreaterThan(0)
  expect(third).toBe(2 * (second ?? 0))
})

it('a source that breaks off behind the last byte has to say again that this was all', async () => {
  await using nodes = await contentNodes(['one', 'two'])
  const digest = await put(nodes.of('one').content, call, 'on one')
  nodes.breaking.set('one', 1)
  expect(String(await read(nodes.of('two').content, call, digest))).toBe('on one')
  expect(nodes.readFrom).toEqual([0, 0])
})

it('one that is gone is not asked', async () => {
  await using nodes = await contentNodes(['one', 'two'])
  const digest = await put(nodes.of('one').content, call, 'on one')
  nodes.away.add('one')
  await expect(read(nodes.of('two').content, call, digest)).rejects.toMatchObject({ code: status.UNAVAILABLE })
  expect(nodes.asked).toEqual([])
})

it('of twenty nodes that have a blob, eight are asked', async () => {
  const holders = Array.from({ length: 20 }, (_, index) => `n${index}`)
  await using nodes = await contentNodes([...holders, 'new'])
  const digest = await put(nodes.of('n0').content, call, 'on each')
  for (const name of holders) await read(nodes.of(name).content, call, digest)
  nodes.asked.length = 0
  expect(String(await read(nodes.of('new').content, call, digest))).toBe('on each')
  expect(new Set(nodes.asked).size).toBe(8)
  expect(nodes.asked).toHaveLength(8)
})

it('nodes that are getting a blob from each other, and from nobody else, do not wait for ever', async () => {
  await using nodes = await contentNodes(['one', 'two', 'three'])
  const digest = await put(nodes.of('one').content, call, 'on one')
  nodes.busy.set('one', Number.POSITIVE_INFINITY)
  const both = await Promise.allSettled(['two', 'three'].map((name) => read(nodes.of(name).content, call, digest)))
  for (const outcome of both)
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: status.UNAVAILABLE } })
}, 60_000)
