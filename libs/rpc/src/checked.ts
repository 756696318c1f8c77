import type { Admission } from './admission.ts'
import { type Codec, rawCodec } from './codec.ts'
import type { MethodDefinition } from './service.ts'

/** An admission whose checks see decoded messages also where bytes pass through. */
export function within({ codec, method }: { codec: Codec; method: MethodDefinition }, admission: Admission): Admission {
  const { call, checkRequest, filterAnswer } = admission
  if (codec !== rawCodec) return admission
  return {
    call,
    checkRequest: checkRequest && ((bytes) => checkRequest(method.requestType.decode(bytes as Buffer))),
    filterAnswer:
      filterAnswer &&
      ((bytes) => {
        const answer = filterAnswer(method.responseType.decode(bytes as Buffer))
        return answer === undefined ? undefined : Buffer.from(method.responseType.encode(answer).finish())
      }),
  }
}

export function checkedOne(request: unknown, { checkRequest }: Admission): unknown {
  checkRequest?.(request)
  return request
}

export function checked(requests: AsyncIterable<unknown>, { checkRequest }: Admission): AsyncIterable<unknown> {
  if (checkRequest === undefined) return requests
  return each(requests, (request) => {
    checkRequest(request)
    return request
  })
}

export async function filteredOne(answer: unknown, { filterAnswer }: Admission): Promise<unknown> {
  const whole = await answer
  return filterAnswer === undefined ? whole : filterAnswer(whole)
}

export function filtered(answers: AsyncIterable<unknown>, { filterAnswer }: Admission): AsyncIterable<unknown> {
  return filterAnswer === undefined ? answers : each(answers, filterAnswer)
}

async function* each(messages: AsyncIterable<unknown>, change: (message: unknown) => unknown) {
  for await (const message of messages) {
    const changed = change(message)
    if (changed !== undefined) yield changed
  }
}
