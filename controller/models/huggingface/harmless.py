"""Keys that change neither time nor bytes: names, training, generation, and settings of transformers itself.

And those that change values, which no family here can express.
"""

from __future__ import annotations

from typing import Final

HARMLESS: Final = frozenset({
    "architectures", "auto_map", "model_type", "transformers_version", "_name_or_path", "name_or_path", "id2label",
    "label2id", "task_specific_params", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
    "summary_type", "summary_use_proj", "finetuning_task", "problem_type", "prefix", "language",
    # training and initial values
    "initializer_range", "initializer_factor", "attention_dropout", "hidden_dropout", "attn_pdrop", "embd_pdrop",
    "resid_pdrop", "dropout", "activation_dropout", "layerdrop", "classifier_dropout", "attn_dropout", "ffn_dropout",
    "pretraining_tp", "gradient_checkpointing", "init_std",
    "router_aux_loss_coef", "output_router_logits", "embedding_dropout", "use_flash_attention_2", "pad_vocab_size",
    "moe_train_capacity_factor", "capacity_factor_train",
    # generation and caches
    "use_cache", "pad_token_id", "sep_token_id", "cls_token_id", "decoder_start_token_id", "is_encoder_decoder",
    "is_decoder", "max_length", "min_length", "do_sample", "temperature", "top_k", "top_p", "num_beams",
    "cache_implementation", "return_dict", "output_hidden_states", "output_attentions", "torchscript", "use_bfloat16",
    "_attn_implementation_autoset", "attn_implementation", "unsloth_fixed",
    "chunk_size_feed_forward", "reorder_and_upcast_attn", "is_llama_config", "hidden_act", "use_mrope",
})  # fmt: skip
"""Keys that need not be read."""
CHANGE_VALUES: Final = frozenset({
    "_remove_final_layer_norm", "clip_qkv", "apply_residual_connection_post_layernorm", "rope_interleaved",
    "rotary_emb_fraction", "expert_capacity",
})  # fmt: skip
"""Keys that no reader knows what to do with and that change what a model computes: runs with values refuse them."""
