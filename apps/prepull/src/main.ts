import { part, runApp } from '@flotilla/compose'

await runApp({ name: 'prepull', about: 'images on many nodes, one part on each', parts: [part.prepull] })
