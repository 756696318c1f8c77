import { expect, test } from 'vitest'
import { createSlots, Turns } from './index.ts'

test('slots go to those who wait in the order of asking; who gives up holds up nobody', async () => {
  const slots = createSlots(1)
  const order: string[] = []
  const first = await slots.take()
  const given = new AbortController()
  const leaving = slots.take(given.signal)
  const second = slots.take().then((free) => {
    order.push('second')
    return free
  })
  const third = slots.take().then(() => order.push('third'))
  given.abort(new Error('enough'))
  await expect(leaving).rejects.toThrow('enough')
  expect(slots.tryTake()).toBeUndefined()
  first()
  first()
  const free = await second
  expect(order).toEqual(['second'])
  free()
  await third
  expect(order).toEqual(['second', 'third'])
})

test('of more slots those who wait hear when one is freed; of fewer none is given until enough are back', async () => {
  let count = 1
  const slots = createSlots(() => count)
  const first = await slots.take()
  const waiting = [slots.take(), slots.take()] as const
  count = 2
  first()
  const held = await Promise.all(waiting)
  expect(slots.tryTake()).toBeUndefined()
  count = 1
  held[0]()
  expect(slots.tryTake()).toBeUndefined()
  held[1]()
  expect(slots.tryTake()).toBeDefined()
})

test('turns of one key follow one another, those of others do not wait; who gives up holds up nobody', async () => {
  const turns = new Turns()
  const first = await turns.take('a')
  using _ = await turns.take('b')
  const given = new AbortController()
  const leaving = turns.take('a', given.signal)
  let taken = false
  const third = turns.take('a').then((turn) => {
    taken = true
    return turn
  })
  given.abort(new Error('enough'))
  await expect(leaving).rejects.toThrow('enough')
  expect(taken).toBe(false)
  first[Symbol.dispose]()
  ;(await third)[Symbol.dispose]()
  using _again = await turns.take('a')
})
