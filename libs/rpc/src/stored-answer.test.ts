import { Container, GetContainerResponse } from '@flotilla/api/containerd/services/containers/v1/containers'
import { expect, it } from 'vitest'
import { encoded } from './codec.ts'
import { decodedAnswer, storedAnswer, storedBytes } from './stored-answer.ts'

it.each([1, 127, 128, 20_000])('is what its message would be, with an id of %i characters', (length) => {
  const container = Container.fromPartial({ id: 'x'.repeat(length), labels: { a: 'b' } })
  const answer = storedAnswer('container', Container, encoded(Container, container))
  expect(Buffer.concat(storedBytes(answer) ?? [])).toEqual(encoded(GetContainerResponse, { container }))
  expect(answer).toEqual({ container })
  expect(answer.container).toBe(answer.container)
})

it('is what was decoded, without encoding it again', () => {
  const bytes = encoded(Container, Container.fromPartial({ id: 'a' }))
  const answer = decodedAnswer(Container, bytes)
  expect(answer).toEqual(Container.fromPartial({ id: 'a' }))
  expect(storedBytes(answer)?.[0]).toBe(bytes)
  expect(storedBytes({ ...answer, id: 'b' })).toBe(undefined)
})

it('does not pass for a changed copy', () => {
  const container = Container.fromPartial({ id: 'a' })
  const answer = storedAnswer('container', Container, encoded(Container, container))
  expect(storedBytes({ ...answer })).toBe(undefined)
  expect(storedBytes({ ...answer, container: { ...answer.container, id: 'b' } })).toBe(undefined)
  expect([storedBytes(undefined), storedBytes('text')]).toEqual([undefined, undefined])
})
