package redisfront

import _ "embed"

var (
	//go:embed admit.lua
	admitText string
	//go:embed learn.lua
	learnText string
	//go:embed limit.lua
	limitText string
	//go:embed take.lua
	takeText string
	//go:embed due.lua
	dueText string
	//go:embed publish.lua
	publishText string
	//go:embed cached_read.lua
	cachedReadText string
	//go:embed cached_fill.lua
	cachedFillText string
	//go:embed cached_changing.lua
	cachedChangingText string
	//go:embed cached_changed.lua
	cachedChangedText string
	//go:embed used_mark.lua
	usedMarkText string
	//go:embed used_since.lua
	usedSinceText string
	//go:embed gcra.lua
	gcraText string
	//go:embed gcra_back.lua
	gcraBackText string

	admitScript, learnScript, limitScript = newScript(admitText), newScript(learnText), newScript(limitText)
	usedMarkScript, usedSinceScript       = newScript(usedMarkText), newScript(usedSinceText)
	publishScript                         = newScript(publishText)
	cachedReadScript, cachedFillScript    = newScript(cachedReadText), newScript(cachedFillText)
	cachedChangingScript                  = newScript(cachedChangingText)
	cachedChangedScript, gcraScript       = newScript(cachedChangedText), newScript(gcraText)
	gcraBackScript                        = newScript(gcraBackText)
	dueScript, takeScript                 = newScript(dueText), newScript(takeText)
)
