// The demo model's files as read-only data, found by the assembler under models/demo (-Wa,-I).
.macro embed symbol, file
  .balign 64
  .global redline_demo_\symbol\()_begin, redline_demo_\symbol\()_end
  .hidden redline_demo_\symbol\()_begin, redline_demo_\symbol\()_end
redline_demo_\symbol\()_begin:
  .incbin "\file"
redline_demo_\symbol\()_end:
  .byte 0
  .type redline_demo_\symbol\()_begin, @object
  .type redline_demo_\symbol\()_end, @object
  .size redline_demo_\symbol\()_begin, redline_demo_\symbol\()_end - redline_demo_\symbol\()_begin
  .size redline_demo_\symbol\()_end, 1
.endm

  .section .rodata
embed config, "config.json"
embed generation_config, "generation_config.json"
embed weights, "model.safetensors"
embed tokenizer, "tokenizer.json"
embed tokenizer_config, "tokenizer_config.json"
embed eval, "eval.txt"

  .section .note.GNU-stack, "", %progbits
